using Tessera.Sdk.Conformance.Cpu;

namespace Tessera.Engine.Software.Tests;

/// <summary>Where things lie in the memory that code of the oracle's works on: two pages, whose frames in the guest do not adjoin, and RBX on the border between them.</summary>
internal static class OracleMemory
{
    public const int DataPages = 2;

    /// <summary>Where RBX points.</summary>
    public const ulong Border = EngineGuest.Data + 0x1000;

    /// <summary>What is random before each run and compared after it; the rest of the two pages is compared at the end.</summary>
    public const int WindowBytes = 0xc00;

    /// <summary>Where in the window the border is.</summary>
    public const int Middle = 0x400;

    public const ulong Window = Border - Middle;

    // What follows is from the border on.
    public const int Stack = -0x280;
    public const int Control = 0x3c0;
    public const int ControlAfter = 0x3c8;
    public const int Status = 0x3d0;
    public const int VectorsIn = 0x400;
    public const int ValuesOut = 0x600;
    public const int VectorsOut = 0x700;
}
