using System.Reflection;
using Tessera.Sdk.Scheduling;

namespace Tessera.Hosting.Tests;

/// <summary>Run states, places, weights and affinities are the scheduler core's: a plugin reads them.</summary>
internal sealed class SchedulerHandleTests
{
    [TestCase("State = RunState.Running")]
    [TestCase("Pcpu = new PcpuId(1)")]
    [TestCase("Affinity = CpuSet.All")]
    [TestCase("Domain.Weight = 1")]
    [TestCase("Domain.Options = null")]
    [TestCase("Domain.Vcpus = default")]
    public void What_the_core_writes_no_plugin_can(string assignment) =>
        Assert.That(PluginForge.Errors($"class Meddler {{ void Meddle(SchedulableVcpu vcpu) {{ vcpu.{assignment}; }} }}"), Is.EqualTo(new[] { "CS0200" }), "it is read-only");

    [Test]
    public void The_cores_own_record_is_out_of_sight() =>
        Assert.That(PluginForge.Errors("class Meddler { object? Look(SchedulableVcpu vcpu) => vcpu.CoreData; }"), Is.EqualTo(new[] { "CS1061" }), "no such member");

    [Test]
    public void A_plugin_owns_its_own_record_of_a_vCPU_and_nothing_else()
    {
        Assert.That(PluginForge.Errors("class Honest { void Keep(SchedulableVcpu vcpu) { vcpu.PolicyData = this; } }"), Is.Empty);
        Assert.That(
            new[] { typeof(SchedulableVcpu), typeof(SchedulableDomain) }
                .SelectMany(type => type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
                .Where(property => property.SetMethod is { IsPublic: true }).Select(property => property.Name),
            Is.EqualTo(new[] { nameof(SchedulableVcpu.PolicyData) }));
    }
}
