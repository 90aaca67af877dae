using System.Reflection;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Builders;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>The conformance suite of engines, as far as it can be asked of one that runs no instruction.</summary>
[Only]
internal sealed class ScriptedEngineConformance : CpuEngineConformance
{
    /// <summary>What asks nothing of guest code: threads, deadlines, kicks, clocks, layouts and descriptor tables.</summary>
    private static readonly string[] Applicable =
    [
        nameof(A_past_deadline_returns_without_progress),
        nameof(A_kick_before_the_run_ends_it_at_once),
        nameof(A_kick_from_another_thread_ends_the_run),
        nameof(A_thread_gets_its_affinity_and_signals_back),
        nameof(A_host_cpu_that_does_not_exist_is_refused_with_a_cure),
        nameof(Wrong_layouts_are_refused),
        nameof(More_descriptors_than_frames_hold_are_refused),
        nameof(Cpus_are_clocks_where_the_facts_say_so),
        nameof(A_time_that_has_come_already_lets_nothing_happen),
    ];

    protected override ICpuEngine CreateEngine() => new ScriptedEngine();

    /// <summary>Leaves out the tests that assemble code and look at what it did: a script has no code.</summary>
    [AttributeUsage(AttributeTargets.Class)]
    private sealed class OnlyAttribute : NUnitAttribute, IFixtureBuilder2, IPreFilter
    {
        public IEnumerable<TestSuite> BuildFrom(ITypeInfo typeInfo) => BuildFrom(typeInfo, this);

        public IEnumerable<TestSuite> BuildFrom(ITypeInfo typeInfo, IPreFilter filter) =>
            [new NUnitTestFixtureBuilder().BuildFrom(typeInfo, this)];

        public bool IsMatch(Type type) => true;

        public bool IsMatch(Type type, MethodInfo method) => Applicable.Contains(method.Name);
    }
}
