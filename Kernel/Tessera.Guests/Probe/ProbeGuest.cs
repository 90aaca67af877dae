namespace Tessera.Guests.Probe;

/// <summary>`probe`: asks the hypervisor some 2,700 things and writes each answer to its console, one a line; then powers off
/// (docs/xen-abi.md).</summary>
internal static class ProbeGuest
{
    public static byte[] Build()
    {
        ProbeCode p = new();
        p.Begin();
        p.G.SetProgress(GuestProgress.Running);
        p.FindTables();
        StartOfDayCases.Emit(p);
        VersionCases.Emit(p);
        TrapCases.Emit(p);
        MmuCases.Emit(p);
        MemoryCases.Emit(p);
        EventCases.Emit(p);
        GrantCases.Emit(p);
        InstructionCases.Emit(p);
        RegisterCases.Emit(p);
        TimeCases.Emit(p);
        return p.Finish();
    }
}
