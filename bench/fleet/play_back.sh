# The forced command that stands for a host: it plays a recorded reply back.
#   play_back.sh FOLDER SECONDS
# Like the probe it prints the line of the shell first, reads its program to the end, waits as long as asked, and then
# prints its reply. Hosts take turns with the recorded replies, by the last number of their address.
set -- "$1" "$2" $SSH_CONNECTION
last=${5##*.}
read -r count <"$1/count"
number=$((last % count))
read -r ready <"$1/ready.$number"
echo "$ready"
cat >/dev/null
test "$2" = 0 || sleep "$2"
exec cat "$1/rest.$number"
