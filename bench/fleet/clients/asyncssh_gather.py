"""asyncssh with `gather` and a semaphore; tuned: the cheapest algorithms, no ssh_config, the key
loaded and known_hosts read once.
"""

from __future__ import annotations

import asyncio

import asyncssh

from . import Replies, host_keys, job


async def run_all() -> None:
    found = job()
    replies = Replies(found)
    user_key = asyncssh.read_private_key(found.key)
    known = {a: asyncssh.import_public_key(key) for a, key in host_keys(found).items()}
    limit = asyncio.Semaphore(found.forks)

    async def run(address: str) -> None:
        options = asyncssh.SSHClientConnectionOptions(
            config=None,
            known_hosts=([known[address]], [], []),
            username=found.user,
            client_keys=[user_key],
            agent_path=None,
            preferred_auth=["publickey"],
            kex_algs=["curve25519-sha256"],
            encryption_algs=["aes128-gcm@openssh.com"],
            server_host_key_algs=["ssh-ed25519"],
            compression_algs=None,
        )
        async with (
            limit,
            asyncssh.connect(address, found.port, options=options) as connection,
        ):
            done = await connection.run(found.command, input=found.stdin, encoding=None)
        replies.add(address, bytes(done.stdout or b""))

    results = await asyncio.gather(*map(run, found.addresses), return_exceptions=True)
    for address, result in zip(found.addresses, results, strict=True):
        if isinstance(result, BaseException):
            print(f"{address}: {result!r}")
    replies.write()


if __name__ == "__main__":
    asyncio.run(run_all())
