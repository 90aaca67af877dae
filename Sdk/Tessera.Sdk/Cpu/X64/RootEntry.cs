namespace Tessera.Sdk.Cpu.X64;

/// <summary>One entry of every L4 table.</summary>
/// <param name="Slot">Index 0 to 511.</param>
/// <param name="Entry">The entry's value.</param>
public readonly record struct RootEntry(int Slot, ulong Entry);
