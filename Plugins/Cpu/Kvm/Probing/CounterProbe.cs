using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Kvm.Probing;

/// <summary>Whether ring 3 reads the time-stamp counter that the engine believes in.</summary>
internal static class CounterProbe
{
    private const int Rounds = 4;

    /// <summary>Runs RDTSC in ring 3 between two reads of the host's counter, some times.</summary>
    public static bool Agrees(ScratchGuest guest, CounterShift shift, Func<ulong> host)
    {
        for (int round = 0; round < Rounds; round++)
        {
            guest.Place(0x0f, 0x31, 0xe6, EngineArea.Port);
            ulong before = host();
            if (guest.Run().Kind != TrapKind.Hypercall)
                return false;
            ulong after = host();
            if (!shift.Agrees((guest.Cpu.State.Rdx << 32) | (uint)guest.Cpu.State.Rax, before, after))
                return false;
        }

        return true;
    }
}
