using Tessera.Plugins.Cpu.Kvm.Paging;

namespace Tessera.Plugins.Cpu.Kvm.Probing;

/// <summary>Tries every kind of page-table downgrade in a machine and sees whether ring 3 still gets what the tables no longer give.</summary>
internal static class PagingProbe
{
    private const int DataIndex = 1;
    private const int CodeL2Index = 2;
    private const ulong Writable = 2;

    /// <summary>The kinds that were stale in this machine with its strategy; empty when the strategy works here.</summary>
    public static IReadOnlyList<string> FindStale(ScratchGuest guest)
    {
        List<string> stale = [];
        ulong a = ScratchGuest.Frame(ScratchGuest.DataA).Address | ScratchGuest.Rights;
        ulong b = ScratchGuest.Frame(ScratchGuest.DataB).Address | ScratchGuest.Rights;

        Expect(guest.Write(ScratchGuest.DataAddress), "a plain write");
        guest.Change(ScratchGuest.L1, DataIndex, b);
        Expect(guest.Read(ScratchGuest.DataAddress) == ScratchGuest.DataB, "another frame");

        Expect(guest.Write(ScratchGuest.DataAddress), "a write after another frame");
        guest.Change(ScratchGuest.L1, DataIndex, b & ~Writable);
        Expect(!guest.Write(ScratchGuest.DataAddress), "read-only");

        guest.Change(ScratchGuest.L1, DataIndex, a);
        Expect(guest.Read(ScratchGuest.DataAddress) is not null, "writable again");
        guest.Change(ScratchGuest.L1, DataIndex, 0);
        Expect(guest.Read(ScratchGuest.DataAddress) is null, "not present");

        guest.Change(ScratchGuest.L1, DataIndex, a);
        Expect(guest.Read(ScratchGuest.DataAddress) == ScratchGuest.DataA, "present again");
        guest.Change(ScratchGuest.L2, CodeL2Index, ScratchGuest.Frame(ScratchGuest.OtherL1).Address | ScratchGuest.Rights);
        Expect(guest.Read(ScratchGuest.DataAddress) == ScratchGuest.DataB, "another table");
        return stale;

        void Expect(bool holds, string kind)
        {
            if (!holds)
                stale.Add(kind);
        }
    }

    /// <summary>The cheapest strategy that works here, or what the options ask for; null when none works.</summary>
    /// <param name="choice">What the options ask for.</param>
    /// <param name="works">Tries a strategy; only asked as far as needed.</param>
    public static PagingStrategy? Choose(PagingChoice choice, Func<PagingStrategy, bool> works)
    {
        if (choice != PagingChoice.Probe)
            return Enum.Parse<PagingStrategy>(choice.ToString());
        foreach (PagingStrategy strategy in Enum.GetValues<PagingStrategy>())
        {
            if (works(strategy))
                return strategy;
        }

        return null;
    }
}
