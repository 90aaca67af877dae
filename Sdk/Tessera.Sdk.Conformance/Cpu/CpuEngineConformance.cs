using System.Runtime.ExceptionServices;
using NUnit.Framework;
using Tessera.Sdk.Cpu;

namespace Tessera.Sdk.Conformance.Cpu;

/// <summary>
/// Derive from this, say how the engine is made, and get the conformance suite of CPU engines as NUnit tests: traps and the state they leave,
/// page-table changes, preemption, machines and threads.
/// </summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyEngineConformance : CpuEngineConformance
/// {
///     protected override ICpuEngine CreateEngine() => new MyEngine(new MyOptions());
/// }
/// </code>
/// </example>
public abstract partial class CpuEngineConformance
{
    /// <summary>Far more than any test takes, also on a starved host.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromMinutes(10);

    private bool _isStuck;

    /// <summary>The engine under test, for all tests of the fixture.</summary>
    protected ICpuEngine Engine { get; private set; } = null!;

    /// <summary>Makes an engine.</summary>
    /// <exception cref="EngineException">This host cannot: the tests are skipped with these words.</exception>
    protected abstract ICpuEngine CreateEngine();

    /// <summary>What this host does wrong, so that no engine on it could pass a test that asks; null for nothing. The test is skipped with these words.</summary>
    /// <param name="test">The name of the test.</param>
    protected virtual string? FaultOfTheHost(string test) => null;

    /// <summary>Opens the engine once.</summary>
    [OneTimeSetUp]
    public void OpenEngine()
    {
        try
        {
            Engine = CreateEngine();
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
        }
    }

    /// <summary>Closes it, unless a thread is stuck in it.</summary>
    [OneTimeTearDown]
    public void CloseEngine()
    {
        if (!_isStuck)
            Engine?.Dispose();
    }

    /// <summary>Runs a test's body on an engine thread of its own and lets its failure through; one that does not come back stays behind, and fails.</summary>
    /// <param name="body">What to do there.</param>
    protected void OnEngineThread(Action<IEngineThread> body)
    {
        Exception? failure = null;
        Thread runner = new(() =>
        {
            try
            {
                using IEngineThread thread = Engine.EnterThread(0);
                body(thread);
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        })
        {
            IsBackground = true,
        };
        runner.Start();
        if (!runner.Join(HangLimit))
        {
            _isStuck = true;
            Assert.Fail($"The engine has not come back for {HangLimit.TotalMinutes:0} minutes.");
        }

        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
    }
}
