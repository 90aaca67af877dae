using System.Runtime.ExceptionServices;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>An engine and an engine thread for tests that run guests; ignored with the host's own words where KVM is not usable.</summary>
internal abstract class EngineFixture
{
    protected KvmEngine Engine { get; private set; } = null!;

    [OneTimeSetUp]
    public void OpenEngine()
    {
        try
        {
            Engine = new KvmEngine(new KvmOptions());
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
        }
    }

    [OneTimeTearDown]
    public void CloseEngine() => Engine?.Dispose();

    /// <summary>Runs a test's body on an engine thread of its own and lets its failure through.</summary>
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
        });
        runner.Start();
        runner.Join();
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
    }

    /// <summary>Ignores the test where this host's KVM lacks what it is about.</summary>
    protected void Require(string probe, string finding)
    {
        EngineFinding found = Engine.Facts.Findings.Single(candidate => candidate.Probe == probe);
        if (found.Finding != finding)
            Assert.Ignore($"On this host: {probe} {found.Finding}.");
    }
}
