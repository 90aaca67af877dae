using Tessera.Sdk.Scheduling;

namespace Tessera.Samples.Lottery;

/// <summary>The tree of partial ticket sums of the paper: whoever holds a ticket is found, and a number of tickets changed, in O(log n).</summary>
internal sealed class TicketTree
{
    private readonly Stack<int> _free = new();

    /// <summary>Node 1 is the root, node i has the children 2i and 2i + 1, and the second half are the leaves: one a seat.</summary>
    private ulong[] _sums = new ulong[2];
    private SchedulableVcpu?[] _seats = new SchedulableVcpu?[1];
    private int _used;

    /// <summary>All tickets.</summary>
    public ulong Total => _sums[1];

    /// <summary>The tickets of a seat.</summary>
    public ulong this[int seat]
    {
        get => _sums[_seats.Length + seat];
        set
        {
            ulong change = unchecked(value - this[seat]);
            for (int node = _seats.Length + seat; node > 0; node /= 2)
                _sums[node] = unchecked(_sums[node] + change);
        }
    }

    /// <summary>Gives a vCPU a seat, without tickets.</summary>
    public int Seat(SchedulableVcpu vcpu)
    {
        int seat = _free.Count > 0 ? _free.Pop() : _used++;
        if (seat == _seats.Length)
            Grow();
        _seats[seat] = vcpu;
        return seat;
    }

    /// <summary>Takes it back, with its tickets.</summary>
    public void Clear(int seat)
    {
        this[seat] = 0;
        _seats[seat] = null;
        _free.Push(seat);
    }

    /// <summary>Who holds a ticket; they are numbered from 0 to below <see cref="Total"/>.</summary>
    public SchedulableVcpu Holder(ulong ticket)
    {
        int node = 1;
        while (node < _seats.Length)
        {
            node *= 2;
            if (ticket < _sums[node])
                continue;
            ticket -= _sums[node];
            node++;
        }

        return _seats[node - _seats.Length]!;
    }

    private void Grow()
    {
        int seats = _seats.Length;
        ulong[] sums = new ulong[4 * seats];
        Array.Copy(_sums, seats, sums, 2 * seats, seats);
        for (int node = (2 * seats) - 1; node > 0; node--)
            sums[node] = sums[2 * node] + sums[(2 * node) + 1];
        _sums = sums;
        Array.Resize(ref _seats, 2 * seats);
    }
}
