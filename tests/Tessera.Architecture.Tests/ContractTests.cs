using System.Reflection;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Scheduling;

namespace Tessera.Architecture.Tests;

/// <summary>The contracts stay small: what a plugin author must write fits in the head.</summary>
internal sealed class ContractTests
{
    [Test]
    public void A_scheduler_has_at_most_12_members() => Assert.That(Members(typeof(IScheduler)), Has.Length.LessThanOrEqualTo(12));

    [Test]
    public void A_CPU_engine_has_at_most_11_members_over_its_four_interfaces()
    {
        string[] members = [.. new[] { typeof(ICpuEngine), typeof(IEngineThread), typeof(IGuestMachine), typeof(IGuestCpu) }.SelectMany(Members)];
        Assert.That(members, Has.Length.LessThanOrEqualTo(11));
    }

    [Test]
    public void The_smallest_scheduler_is_a_page()
    {
        IReadOnlyList<string> files = Repository.Files("*.cs", "Plugins/Schedulers/RoundRobin");
        Assert.That(files, Is.Not.Empty);
        Assert.That(files.Sum(file => Repository.Lines(file).Length), Is.LessThanOrEqualTo(80));
    }

    /// <summary>Methods and properties of the interface itself; what it inherits (Dispose) is .NET's.</summary>
    private static string[] Members(Type contract) =>
    [
        .. contract.GetProperties().Select(property => property.Name),
        .. contract.GetEvents().Select(happening => happening.Name),
        .. contract.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly).Where(method => !method.IsSpecialName).Select(method => method.Name),
    ];
}
