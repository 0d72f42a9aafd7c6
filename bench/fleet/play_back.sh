# The forced command that stands for a host: it plays a recorded reply back.
#   play_back.sh FOLDER SECONDS
# Like the probe it prints the line of the shell first, reads its program to the end, waits as long as asked, and then
# prints the reply of its address.
set -- "$1" "$2" $SSH_CONNECTION
read -r ready <"$1/ready"
echo "$ready"
cat >/dev/null
test "$2" = 0 || sleep "$2"
exec cat "$1/replies/$5"
