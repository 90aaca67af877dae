using Tessera.Experiments.Hosts;

namespace Tessera.Cli.Tests.Composition;

/// <summary>The cure fits the device's owner, group and mode, and this user's groups.</summary>
internal sealed class KvmPresenceTests
{
    private const uint Character = 0x2000;

    [TestCase(0u, 0x1B0u /* 0660 */, "kvm", 108u, "usermod -aG kvm ann", "setfacl", TestName = "{m}(the usual group)")]
    [TestCase(0u, 0x180u /* 0600 */, "root", 0u, "setfacl -m u:ann:rw /dev/kvm", "usermod -aG root", TestName = "{m}(root alone)")]
    [TestCase(0u, 0x1B0u /* 0660 */, "root", 0u, "setfacl -m u:ann:rw /dev/kvm", "usermod -aG root", TestName = "{m}(root's group)")]
    [TestCase(0u, 0x1A0u /* 0640 */, "kvm", 108u, "mode 0640", "Join that group", TestName = "{m}(a group that may only read)")]
    [TestCase(0u, 0x1B6u /* 0666 */, "kvm", 108u, "docker run --device /dev/kvm", "usermod", TestName = "{m}(a mode that lets everybody)")]
    [TestCase(0u, 0x1B0u /* 0660 */, "staff", 50u, "Ask whoever runs the host", "usermod", TestName = "{m}(a group of the user's)")]
    public void The_cure_is_one_that_works(uint owner, uint mode, string group, uint groupNumber, string says, string saysNot)
    {
        string cure = KvmPresence.ForbiddenCure("/dev/kvm", new(Character | mode, owner, groupNumber), new HashSet<uint> { 50, 1000 }, "ann", group);
        Assert.That(cure, Does.Contain(says).And.Not.Contain(saysNot));
    }

    [Test]
    public void A_device_that_is_not_there_cannot_be_had_from_inside_a_container() =>
        Assert.That(KvmPresence.Cure(KvmState.Missing, "/dev/kvm"), Does.Contain("modprobe").And.Contain("container"));

    [Test]
    public void The_user_is_the_effective_one_and_not_the_owner_of_a_link_in_proc() =>
        Assert.That(ProcessUser.Id, Is.EqualTo((uint)Tmds.Linux.LibC.geteuid()));
}
