using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Software.Tests;

/// <summary>Tests of a guest on an engine of its own, with the sequences this processor allows and with the plain ones.</summary>
internal abstract class GuestFixture(bool plain)
{
    /// <summary>Runs a test's body with a new guest, prepared as all of the fixture's are.</summary>
    protected void With(Action<EngineGuest, IEngineThread> body)
    {
        using SoftwareEngine engine = NewEngine();
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest guest = new(engine);
        Prepare(guest);
        body(guest, thread);
    }

    /// <summary>An engine of the fixture's kind.</summary>
    protected SoftwareEngine NewEngine() => new(new SoftwareOptions { Plain = plain });

    /// <summary>What every guest of the fixture begins with.</summary>
    protected virtual void Prepare(EngineGuest guest)
    {
    }
}
