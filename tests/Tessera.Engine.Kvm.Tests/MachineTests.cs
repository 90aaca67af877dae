using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class MachineTests : EngineFixture
{
    [Test]
    public void Disposing_leaves_no_descriptor_behind() => OnEngineThread(_ =>
    {
        Once();
        int before = OpenKvmDescriptors();
        for (int round = 0; round < 20; round++)
            Once();
        Assert.That(OpenKvmDescriptors(), Is.EqualTo(before));

        void Once()
        {
            using KvmEngine engine = new(new KvmOptions());
            using EngineGuest guest = new(engine, cpus: 2);
        }

        static int OpenKvmDescriptors() => Directory.EnumerateFileSystemEntries("/proc/self/fd")
            .Count(path => new FileInfo(path).LinkTarget?.Contains("kvm", StringComparison.Ordinal) == true);
    });
}
