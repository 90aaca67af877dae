using Tessera.Plugins.Cpu.Software;

namespace Tessera.Engine.Software.Tests;

/// <summary>A way to run the engine.</summary>
/// <param name="Name">What is special about it.</param>
/// <param name="Options">The engine's options.</param>
/// <param name="Share">One in so many of the usual rounds run in it.</param>
internal sealed record EngineWay(string Name, SoftwareOptions Options, int Share)
{
    public override string ToString() => Name;
}
