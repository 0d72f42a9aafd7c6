# The forced command that stands for a host: it plays a recorded reply back.
#   play_back.sh FOLDER SECONDS
# Like the probe it prints the line of the shell first, reads its program to the end, waits as long as asked, and then
# prints the reply of its address. The first line of the program tells how many bytes follow; that of an old fleetaudit
# does not, and its program ends with the input. A program with a nonce of its own gets that back: its second line
# ends in NONCE = 57.3, '5f0c…'.
here=${0%/*}
set -- "$1" "$2" $SSH_CONNECTION
read -r ready <"$1/ready"
echo "$ready"
read -r first
read -r second
size=${first%% *}
case $size in
"#"[0-9]*) head -c $((${size#?} - ${#second} - 1)) >/dev/null ;;
*) cat >/dev/null ;;
esac
test "$2" = 0 || sleep "$2"
read -r recorded <"$1/nonce"
case $second in
*NONCE*"'$recorded'") ;;
*NONCE*) exec python3 -I -S "$here/repeat_nonce.py" "$1/replies/$5" "$second" ;;
esac
exec cat "$1/replies/$5"
