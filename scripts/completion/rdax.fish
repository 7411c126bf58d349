# SPDX-License-Identifier: GPL-2.0
#
# Written by scripts/tool/completions.
#
# Completion of rdax(8) for fish: to /usr/share/fish/vendor_completions.d.

function __rdax_sys
    set -q _RDAX_SYS; and echo $_RDAX_SYS; or echo /sys
end

# Devices of the dax bus: as for __rdax_namespaces
function __rdax_daxes
    for path in (__rdax_sys)/bus/dax/devices/dax*
        set -l driver (basename (readlink $path/driver; or echo none))
        switch $argv[1]
            case bound
                test $driver = rdax; or continue
            case free
                test $driver = rdax; and continue
        end
        basename $path
    end
end

# With `own`, without those of the dax bus.
function __rdax_devices
    for path in (__rdax_sys)/class/dax/rdax*
        basename $path
    end
    test "$argv[1]" = own; or __rdax_daxes bound
end

# Namespaces that are bound to rdax (`bound`), are not (`free`), or all of them: their names, and
# the UUIDs of those that have one; and devices of the dax bus. `divisible`: bound namespaces only.
function __rdax_namespaces
    test $argv[1] = divisible; or __rdax_daxes $argv[1]
    for path in (__rdax_sys)/bus/nd/devices/namespace*
        switch $argv[1]
            case bound divisible
                test -d $path/rdax_region; or continue
            case free
                test -d $path/rdax_region; and continue
        end
        basename $path
        test -r $path/uuid; and string match -r '.+' <$path/uuid
    end
end

complete -c rdax -f
complete -c rdax -n __fish_use_subcommand -s h -l help -l version
complete -c rdax -n __fish_use_subcommand -a list -d 'regions, their devices and who uses them, and other namespaces'
complete -c rdax -n '__fish_seen_subcommand_from list' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from list' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from list' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n __fish_use_subcommand -a bind -d 'make a namespace a region, with one device; or take a device of the dax bus'
complete -c rdax -n '__fish_seen_subcommand_from bind' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from bind' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from bind' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from bind' -a '(__rdax_namespaces free)'
complete -c rdax -n '__fish_seen_subcommand_from bind' -s a -l align -x -a '4K 2M 1G' -d '4K, 2M or 1G (default: the module\'s)'
complete -c rdax -n '__fish_seen_subcommand_from bind' -l force -d 'also when it holds something known, or is in use'
complete -c rdax -n '__fish_seen_subcommand_from bind' -l whole -d 'as one device, although the configuration divides it'
complete -c rdax -n '__fish_seen_subcommand_from bind' -l memory -x -a 'frames pages tracked' -d 'of the dax bus: page frames only; or a struct page for each, so that it can be pinned; or these, pinned only for a moment and with exact syncs (default: frames, or as the parameter pages says)'
complete -c rdax -n '__fish_seen_subcommand_from bind' -l module -r -F -d 'load this file if rdax isn\'t loaded'
complete -c rdax -n __fish_use_subcommand -a unbind -d 'remove a region and its devices; or release a device of the dax bus'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -a '(__rdax_namespaces bound)'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -l force -d 'also when it is in use'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -l to -x -a 'nd_pmem device_dax kmem' -d 'give it to this driver (nd_pmem; of the dax bus device_dax, kmem)'
complete -c rdax -n '__fish_seen_subcommand_from unbind' -s y -l yes -d 'don\'t ask; needed where there is no terminal'
complete -c rdax -n __fish_use_subcommand -a create -d 'make another device in a region'
complete -c rdax -n '__fish_seen_subcommand_from create' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from create' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from create' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from create' -a '(__rdax_namespaces divisible)'
complete -c rdax -n '__fish_seen_subcommand_from create' -s s -l size -x -d 'default: all that is free'
complete -c rdax -n '__fish_seen_subcommand_from create' -s a -l align -x -a '4K 2M 1G' -d '4K, 2M or 1G (default: the region\'s)'
complete -c rdax -n __fish_use_subcommand -a destroy -d 'remove a device'
complete -c rdax -n '__fish_seen_subcommand_from destroy' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from destroy' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from destroy' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from destroy' -a '(__rdax_devices own)'
complete -c rdax -n '__fish_seen_subcommand_from destroy' -s y -l yes -d 'don\'t ask; needed where there is no terminal'
complete -c rdax -n __fish_use_subcommand -a resize -d 'make a device larger or smaller'
complete -c rdax -n '__fish_seen_subcommand_from resize' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from resize' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from resize' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from resize' -a '(__rdax_devices own)'
complete -c rdax -n '__fish_seen_subcommand_from resize' -s y -l yes -d 'don\'t ask; needed where there is no terminal'
complete -c rdax -n __fish_use_subcommand -a punch -d 'zero a range of a device, so that it becomes a hole'
complete -c rdax -n '__fish_seen_subcommand_from punch' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from punch' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from punch' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from punch' -a '(__rdax_devices)'
complete -c rdax -n '__fish_seen_subcommand_from punch' -l offset -x
complete -c rdax -n '__fish_seen_subcommand_from punch' -l length -x
complete -c rdax -n '__fish_seen_subcommand_from punch' -s y -l yes -d 'don\'t ask; needed where there is no terminal'
complete -c rdax -n __fish_use_subcommand -a sync -d 'make all earlier writes durable'
complete -c rdax -n '__fish_seen_subcommand_from sync' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from sync' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from sync' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from sync' -a '(__rdax_devices)'
complete -c rdax -n __fish_use_subcommand -a save -d 'write to the configuration file how regions are divided'
complete -c rdax -n '__fish_seen_subcommand_from save' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from save' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from save' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from save' -a '(__rdax_namespaces bound)' -d 'only these (default: all bound ones)'
complete -c rdax -n '__fish_seen_subcommand_from save' -l output -r -F -d 'instead of /etc/rdax.conf (-: to stdout)'
complete -c rdax -n '__fish_seen_subcommand_from save' -l forget -d 'remove the entries of namespaces that are not bound'
complete -c rdax -n '__fish_seen_subcommand_from save' -s y -l yes -d 'don\'t ask; needed where there is no terminal'
complete -c rdax -n __fish_use_subcommand -a restore -d 'bind and divide regions as the configuration file says'
complete -c rdax -n '__fish_seen_subcommand_from restore' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from restore' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from restore' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from restore' -a '(__rdax_namespaces all)' -d 'only these (default: all in the file)'
complete -c rdax -n '__fish_seen_subcommand_from restore' -l config -r -F -d 'instead of /etc/rdax.conf'
complete -c rdax -n '__fish_seen_subcommand_from restore' -l dry-run -d 'say what would be done'
complete -c rdax -n '__fish_seen_subcommand_from restore' -l if-configured -d 'a NAMESPACE that the file does not have is no error'
complete -c rdax -n '__fish_seen_subcommand_from restore' -l module -r -F -d 'load this file if rdax isn\'t loaded'
complete -c rdax -n __fish_use_subcommand -a map -d 'a picture of what is mapped, dirty, a hole, or bad'
complete -c rdax -n '__fish_seen_subcommand_from map' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from map' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from map' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from map' -a '(__rdax_devices)'
complete -c rdax -n '__fish_seen_subcommand_from map' -l ascii -d 'letters instead of blocks'
complete -c rdax -n '__fish_seen_subcommand_from map' -l svg -r -F -d 'write an SVG image instead (-: to stdout)'
complete -c rdax -n '__fish_seen_subcommand_from map' -l width -x -d 'columns (default: the terminal\'s)'
complete -c rdax -n '__fish_seen_subcommand_from map' -l offset -x -d 'only from here on'
complete -c rdax -n '__fish_seen_subcommand_from map' -l length -x -d 'only so much'
complete -c rdax -n __fish_use_subcommand -a stat -d 'how many faults, waits and write-backs there are, and how often'
complete -c rdax -n '__fish_seen_subcommand_from stat' -s h -l help -d 'show this help message and exit'
complete -c rdax -n '__fish_seen_subcommand_from stat' -l json -d 'print the result as JSON'
complete -c rdax -n '__fish_seen_subcommand_from stat' -s u -l human -d 'print sizes as 15.63 GiB (16.78 GB)'
complete -c rdax -n '__fish_seen_subcommand_from stat' -a '(__rdax_devices)' -d 'only these (default: all)'
complete -c rdax -n '__fish_seen_subcommand_from stat' -l interval -x -d 'again and again, with what was counted in between, per second'
complete -c rdax -n '__fish_seen_subcommand_from stat' -l count -x -d 'end after so many reports'
