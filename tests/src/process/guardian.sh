# Ends process groups and removes folders once nobody is left who would: its standard input ends when the program that
# started it does, however that ended. Each line of input is a verb and its argument; paths hold no line break.
trap '' HUP INT TERM
newline='
'
groups=
folders=
while IFS=' ' read -r verb argument; do
    case $verb in
        group) groups="$groups $argument" ;;
        group-ended)
            kept=
            for group in $groups; do
                [ "$group" = "$argument" ] || kept="$kept $group"
            done
            groups=$kept
            ;;
        folder) folders="$folders$argument$newline" ;;
        leave) groups= folders= ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group" 2>/dev/null
done
printf %s "$folders" | while IFS= read -r folder; do
    rm -rf -- "$folder"
done
