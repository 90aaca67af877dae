using Tessera.Experiments.Hosts;

namespace Tessera.Cli.Tests.Runs;

internal sealed class HostDelayTests
{
    /// <summary>A thread that the runtime starts from a physical CPU's has its name, and not its host CPU.</summary>
    [TestCase("tessera p0", "0", true)]
    [TestCase("tessera p11", "7", true)]
    [TestCase("tessera p0", "0-1", false)]
    [TestCase("tessera p0", "0,2", false)]
    [TestCase("tessera pool", "0-1", false)]
    [TestCase("store", "0", false)]
    public void A_physical_cpu_is_known_by_its_name_and_its_one_host_cpu(string name, string allowed, bool expected) =>
        Assert.That(HostDelay.IsPhysicalCpu([$"Name:\t{name}", "Umask:\t0022", "Cpus_allowed:\t3", $"Cpus_allowed_list:\t{allowed}"]), Is.EqualTo(expected));
}
