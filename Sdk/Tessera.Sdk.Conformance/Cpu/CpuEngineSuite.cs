using Tessera.Sdk.Cpu;

namespace Tessera.Sdk.Conformance.Cpu;

/// <summary>The conformance suite of CPU engines: traps and the state they leave, page-table changes, preemption, machines and threads.</summary>
/// <param name="engine">The engine's name in the report.</param>
/// <param name="create">Makes an engine, one for each check; an <see cref="EngineException"/> of it comes through.</param>
/// <param name="createOther">Makes another engine whose CPUs take this one's captures; null, or where it answers null, what needs it is not checked.</param>
public sealed partial class CpuEngineSuite(string engine, Func<ICpuEngine> create, Func<ICpuEngine?>? createOther = null)
    : MethodSuite(engine, HangLimit)
{
    /// <summary>Far more than any check takes, also on a starved host.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromMinutes(10);

    /// <summary>The checks of every CPU engine, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } = [.. CheckMethod.Of(typeof(CpuEngineSuite)).Select(static method => method.Info)];

    /// <summary>The engine under test.</summary>
    private ICpuEngine Engine { get; set; } = null!;

    private protected override CheckResult Carry(string name)
    {
        using (Engine = create())
            return base.Carry(name);
    }

    private void OnEngineThread(Action<IEngineThread> body)
    {
        using IEngineThread thread = Engine.EnterThread(0);
        body(thread);
    }
}
