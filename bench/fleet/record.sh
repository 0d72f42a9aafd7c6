# The forced command that runs what was asked for, and keeps the command, its input and its output.
#   record.sh FOLDER
set -- "$1" $SSH_CONNECTION
last=${4##*.}
echo "$SSH_ORIGINAL_COMMAND" >"$1/command.$last"
tee "$1/request.$last" | sh -c "$SSH_ORIGINAL_COMMAND" | tee "$1/reply.$last"
