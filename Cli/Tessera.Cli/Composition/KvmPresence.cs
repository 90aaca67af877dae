using System.Globalization;
using Tessera.Cli.Native;
using Tessera.Common;

namespace Tessera.Cli.Composition;

/// <summary>The three kinds of machine that a user can have.</summary>
internal enum KvmState
{
    /// <summary>The device is there and this user may use it.</summary>
    Usable,

    /// <summary>It is there, and this user may not use it.</summary>
    Forbidden,

    /// <summary>There is none, or nothing answers behind it.</summary>
    Missing,
}

/// <summary>Whether this host has the device that the engine kvm needs, whether this user may use it, and what helps.</summary>
internal static class KvmPresence
{
    /// <summary>The engine that needs it.</summary>
    public const string Engine = "kvm";

    /// <summary>The engine that does not.</summary>
    public const string EngineWithout = "software";

    /// <summary>What runs guests without it.</summary>
    public const string Instead = "Guests run without KVM on the engine software, which translates their code: `--engine software`, or machine.engine left at \"auto\" (docs/engines.md).";

    private const int ReadWriteForGroup = 0x30;
    private const int ReadWriteForOthers = 0x06;

    /// <summary>The device's path.</summary>
    public static string Device(CliHost host) => host.Environment("TESSERA_KVM_DEVICE") is { Length: > 0 } path ? path : "/dev/kvm";

    /// <summary>Which kind of machine this is.</summary>
    public static KvmState Of(CliHost host) => host.KvmProbe(Device(host));

    /// <summary>Opens the device as an engine would, and closes it.</summary>
    public static KvmState Probe(string device)
    {
        try
        {
            using FileStream opened = new(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return KvmState.Usable;
        }
        catch (UnauthorizedAccessException)
        {
            return KvmState.Forbidden;
        }
        catch (Exception e) when (e is IOException or ArgumentException)
        {
            return KvmState.Missing;
        }
    }

    /// <summary>What helps where it cannot be used; empty where it can.</summary>
    public static string Cure(KvmState state, string device) => state switch
    {
        KvmState.Usable => "",
        KvmState.Missing => $"On a machine of your own: switch on virtualization in the firmware and load the module (modprobe kvm_intel or kvm_amd). In a container or a rented machine neither helps: whoever runs the host must give it {device} (docker run --device {device}).",
        _ => FileFacts.Of(device) is { } facts ? ForbiddenCure(device, facts, ProcessUser.Groups, Environment.UserName, NameOfGroup(facts.Group)) : $"Give this user read and write rights to {device}.",
    };

    /// <summary>What gives a user the right to a device, by whose it is and what its mode grants.</summary>
    /// <param name="device">Its path.</param>
    /// <param name="facts">Its owner, group and mode.</param>
    /// <param name="groups">The groups that the process has the rights of.</param>
    /// <param name="user">The user's name.</param>
    /// <param name="group">The name of the device's group.</param>
    internal static string ForbiddenCure(string device, FileFacts facts, IReadOnlySet<uint> groups, string user, string group)
    {
        string rights = $"{device} belongs to user {facts.Owner.ToString(CultureInfo.InvariantCulture)} and group {group}, mode {Convert.ToString(facts.Mode & 0xFFF, 8).PadLeft(4, '0')}";
        bool groupMay = (facts.Mode & ReadWriteForGroup) == ReadWriteForGroup;
        if ((facts.Mode & ReadWriteForOthers) == ReadWriteForOthers || (groupMay && groups.Contains(facts.Group)))
            return $"{rights}, which permits you; so the container, its device rules (docker run --device {device}) or a security module forbids it. Ask whoever runs the host.";
        if (groupMay && facts.Group != 0)
            return $"{rights}. Join that group: sudo usermod -aG {group} {user}; then log in again.";
        string forNow = $"For now, until the device is recreated: sudo setfacl -m u:{user}:rw {device}.";
        return $"{rights}, so no group that you should join gives access. {forNow} For good: sudo groupadd -rf kvm, a file /etc/udev/rules.d/99-kvm.rules with KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\", then sudo usermod -aG kvm {user} and restart. In a container, whoever started it must do this.";
    }

    /// <summary>The name by /etc/group; the number where that does not know it.</summary>
    private static string NameOfGroup(uint number)
    {
        string text = number.ToString(CultureInfo.InvariantCulture);
        try
        {
            return File.ReadLines("/etc/group").Select(line => line.Split(':')).FirstOrDefault(fields => fields.Length > 2 && fields[2] == text)?[0] ?? text;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return text;
        }
    }

    /// <summary>What can be done without it, a line each.</summary>
    public static IReadOnlyList<string> Without { get; } =
    [
        Instead,
        "Simulated, in virtual time: `tessera simulate CONFIG`, `tessera compare CONFIG --simulate-only`; guests that are not built in need a model there, `--model NAME=cpu` (docs/without-kvm.md).",
    ];
}
