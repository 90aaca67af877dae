using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Machines;

namespace Tessera.Cli.Tests.Configuration;

/// <summary>How much memory a domain may ever have.</summary>
internal sealed class MaxMemoryTests
{
    [Test]
    public void It_is_what_the_domain_starts_with_unless_it_is_said()
    {
        FakePacer pacer = new();
        FakeMachine machine = new(pacer);
        using Support.Cli cli = new() { Pacer = pacer, Machine = machine };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--quiet", "--set", "domains[1].maxMemory=4 MiB"), Is.Zero, cli.Error);
        Assert.That(
            machine.Domains.Select(domain => KernelMachineFactory.ConfigurationOf(domain.Plan)).Select(kept => (kept.MemoryBytes, kept.MaxMemoryBytes)),
            Is.EqualTo(new[] { (1L << 20, 1L << 20), (1L << 20, 4L << 20), (1L << 20, 1L << 20) }));
    }

    [Test]
    public void It_is_no_less_than_the_domain_starts_with()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--quiet", "--set", "domains[1].maxMemory=4 KiB"), Is.EqualTo(2));
        Assert.That(cli.Error, Does.Contain("domains[1].maxMemory: The domain starts with 1 MiB, which is more. Raise maxMemory, or lower memory."));
    }
}
