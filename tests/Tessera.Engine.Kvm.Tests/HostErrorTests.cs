using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class HostErrorTests
{
    [Test]
    public void A_missing_device_names_the_module_and_the_variable()
    {
        EngineException exception = Assert.Throws<EngineException>(() => KvmHost.Open("/nonexistent/kvm"))!;
        Assert.That(exception.Message, Does.StartWith("/nonexistent/kvm does not exist."));
        Assert.That(exception.Cure, Does.Contain("modprobe").And.Contain(KvmHost.DeviceVariable));
    }

    [Test]
    public void A_file_that_is_not_kvm_is_told_as_such()
    {
        EngineException exception = Assert.Throws<EngineException>(() => KvmHost.Open("/dev/null"))!;
        Assert.That(exception.Message, Does.Contain("/dev/null is not a KVM device"));
    }

    [TestCase(KvmCalls.ErrnoAccess, "group")]
    [TestCase(KvmCalls.ErrnoPermission, "group")]
    [TestCase(16, "dmesg")]
    public void A_device_that_does_not_open_says_what_helps(int errno, string cure) =>
        Assert.That(KvmHost.CannotOpen("/dev/kvm", errno).Cure, Does.Contain(cure));

    [Test]
    public void Another_version_or_a_missing_capability_asks_for_a_newer_kernel()
    {
        Assert.That(KvmHost.WrongVersion("/dev/kvm", 11).Message, Does.Contain("version 11, not 12"));
        Assert.That(KvmHost.Missing("/dev/kvm", "KVM_CAP_X", "to do Y").Message, Does.Contain("lacks KVM_CAP_X, needed to do Y").And.Contain("kernel"));
    }
}
