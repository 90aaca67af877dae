using System.Text;

namespace Tessera.GuestLibrary;

/// <summary>What the first process of a fetched guest does, and how the kernel command line steers it.</summary>
public static class GuestInit
{
    /// <summary>The first line user space prints: a boot is over when the console shows it.</summary>
    public const string FirstLine = "tessera-guest: up";

    /// <summary>Printed when the root disk is the root of everything.</summary>
    public const string RootLine = "tessera-guest: root is ";

    /// <summary>Printed after a script given by <see cref="ExecArgument"/>, followed by its exit status.</summary>
    public const string ExecDone = "tessera-guest: exec done, status ";

    /// <summary>On the command line, keeps every vCPU of the guest busy at the lowest priority, beside a shell that answers.</summary>
    public const string CpuLoadArgument = "tessera.load=cpu";

    /// <summary>
    /// /init. It uses only /dev/console, whichever console= made that, so the same RAM disk serves hvc0 and ttyS0. The first thing it does
    /// is to print the line; it forks as little as it can, a fork being the dearest thing a PV guest does. Drivers are loaded for the devices that are
    /// there, and both with a root disk, so that more can be plugged in later.
    /// </summary>
    public const string Script = $$"""
        #!/bin/sh
        echo '{{FirstLine}}'
        export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM="${TERM:-linux}"
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs devtmpfs /dev
        read -r release </proc/sys/kernel/osrelease
        echo "tessera-guest: Linux $release; 'poweroff -f' switches it off"
        read -r line </proc/cmdline
        root= mode=ro
        for word in $line; do
            case "$word" in
            root=/dev/*) root=${word#root=} ;;
            rw) mode=rw ;;
            esac
        done
        vbd= vif=
        for device in /sys/bus/xen/devices/*; do
            case "$device" in
            */vbd-*) vbd=xen-blkfront ;;
            */vif-*) vif=xen-netfront ;;
            esac
        done
        [ -z "$root" ] || vbd=xen-blkfront vif=xen-netfront
        [ -z "$vbd$vif" ] || modprobe -a $vbd $vif
        if [ -n "$root" ]; then
            tries=0
            until [ -b "$root" ]; do
                tries=$((tries + 1))
                if [ "$tries" -gt 100 ]; then
                    echo "tessera-guest: no disk $root after 10 s; these are there: $(ls /sys/class/block | tr '\n' ' ')"
                    break
                fi
                sleep 0.1
            done
            if [ -b "$root" ] && mount -t ext4 -o "$mode" "$root" /mnt; then
                mount -t tmpfs tmpfs /mnt/run
                cp -r /lib/modules /mnt/run/modules
                for folder in proc sys dev; do
                    mount -o move "/$folder" "/mnt/$folder"
                done
                echo "{{RootLine}}$root"
                exec switch_root /mnt /sbin/init
            fi
            echo "tessera-guest: $root cannot be mounted; this is the RAM disk"
        fi
        . /etc/tessera.sh
        exec /sbin/init
        """ + "\n";

    /// <summary>/etc/tessera.sh, of the RAM disk and of the root disk: what is left to mount, and the words of the command line.</summary>
    public const string Words = $$"""
        mkdir -p /dev/pts /dev/shm
        mount -t devpts devpts /dev/pts
        mount -t tmpfs tmpfs /dev/shm
        read -r line </proc/cmdline
        for word in $line; do
            case "$word" in
            tessera.ip=dhcp)
                ip link set eth0 up
                udhcpc -i eth0 -n -q
                ;;
            tessera.ip=*)
                ip link set eth0 up
                address=${word#tessera.ip=}
                ip addr add "${address%,*}" dev eth0
                [ "${address%,*}" = "$address" ] || ip route add default via "${address#*,}"
                ;;
            tessera.load=cpu)
                # A session of its own is a scheduling group of its own: the shell gets its share at once.
                cpus=$(nproc)
                while [ "$cpus" -gt 0 ]; do
                    setsid sh -c 'renice -n 19 -p $$; echo 19 >/proc/self/autogroup; while :; do :; done' </dev/null >/dev/null 2>&1 &
                    cpus=$((cpus - 1))
                done
                echo "tessera-guest: CPU load started"
                ;;
            tessera.exec=*)
                echo "${word#tessera.exec=}" | base64 -d >/tmp/exec
                sh /tmp/exec
                echo "{{ExecDone}}$?"
                ;;
            esac
        done
        """ + "\n";

    /// <summary>/etc/udhcpc/default.script of the RAM disk: what becomes of a lease. The root disk has its package's own.</summary>
    public const string LeaseScript = """
        #!/bin/sh
        case "$1" in
        deconfig)
            ip addr flush dev "$interface"
            ip link set "$interface" up
            ;;
        bound | renew)
            ip addr flush dev "$interface"
            ip addr add "$ip/${mask:-24}" dev "$interface"
            [ -z "$router" ] || ip route add default via "${router%% *}" dev "$interface"
            [ -z "$hostname" ] || hostname "$hostname"
            {
                [ -z "$domain" ] || echo "search $domain"
                for server in $dns; do
                    echo "nameserver $server"
                done
            } >/etc/resolv.conf
            ;;
        esac
        """ + "\n";

    /// <summary>/etc/inittab of the RAM disk: a shell with job control on the console, again whenever it ends.</summary>
    public const string InitTab = """
        ::respawn:/bin/cttyhack /bin/sh
        ::ctrlaltdel:/sbin/reboot -f
        """ + "\n";

    /// <summary>The command-line word that makes the guest run a script before it offers a shell.</summary>
    /// <param name="script">A shell script; Xen passes 1,023 bytes of command line in all, so about 700 fit.</param>
    public static string ExecArgument(string script) => "tessera.exec=" + Convert.ToBase64String(Encoding.UTF8.GetBytes(script));
}
