using System.Collections.Immutable;
using Tessera.Common;
using Tessera.Plugins.Net.Nat.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Nat;

/// <summary>
/// A network behind one slirp, from its first interface to its last. Slirp knows no threads: one of this network's own is in it, takes the interfaces'
/// frames in turn and waits for sockets. Interfaces do not reach each other here, and an IP address is the interface's that used it first.
/// </summary>
internal sealed class NatNetwork : ISlirpOwner, IDisposable
{
    /// <summary>Frames of one interface before the next has its turn.</summary>
    private const int Budget = 32;

    /// <summary>IP addresses of one interface.</summary>
    private const int MostAddresses = 16;

    private readonly Dictionary<uint, NatPort> _owners = [];
    private readonly WorkQueue _errands;
    private readonly SlirpStack _slirp;
    private readonly IThreadDuties? _duties;
    private readonly Thread _thread;
    private ImmutableArray<NatPort> _ports = [];
    private int _woken;

    /// <summary>Begins a network without interfaces.</summary>
    /// <exception cref="BackendException">There is no slirp, or it refuses.</exception>
    /// <param name="plan">What it is.</param>
    /// <param name="duties">Takes from its thread what it does not need.</param>
    public NatNetwork(NatPlan plan, IThreadDuties? duties)
    {
        (Plan, _duties) = (plan, duties);
        _slirp = new SlirpStack(plan, this);
        _errands = new WorkQueue(Wake);
        _thread = new Thread(Work) { IsBackground = true, Name = "tessera-nat" };
        _thread.Start();
    }

    /// <summary>What it is.</summary>
    public NatPlan Plan { get; }

    /// <summary>Sockets open, for tests.</summary>
    internal int Connections => _slirp.Connections;

    /// <summary>Adds an interface and its forwards.</summary>
    /// <exception cref="BackendException">Its address is there already, or a port of the host is taken.</exception>
    public void Add(NatPort port) => _errands.Do(() =>
    {
        if (_ports.Any(other => other.Address == port.Address))
            throw new BackendException($"nat: the network already has an interface with the address {port.Address}.", "Give each interface its own mac.");
        List<Forward> done = [];
        try
        {
            foreach (Forward forward in port.Forwards)
            {
                _slirp.AddForward(forward);
                done.Add(forward);
            }
        }
        catch
        {
            done.ForEach(_slirp.RemoveForward);
            throw;
        }

        _ports = _ports.Add(port);
    });

    /// <summary>Takes an interface away, with its forwards and addresses; it gets nothing once this returns.</summary>
    public void Remove(NatPort port) => _errands.Do(() =>
    {
        if (!_ports.Contains(port))
            return;
        _ports = _ports.Remove(port);
        foreach (Forward forward in port.Forwards)
            _slirp.RemoveForward(forward);
        lock (_owners)
        {
            foreach (uint address in _owners.Where(entry => ReferenceEquals(entry.Value, port)).Select(entry => entry.Key).ToArray())
                _ = _owners.Remove(address);
        }
    });

    /// <summary>Ends the network, and every connection.</summary>
    public void Dispose()
    {
        _errands.Close();
        Wake();
        _thread.Join();
        _slirp.Dispose();
    }

    /// <summary>There is something to do. Any thread.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _woken, 1) == 0)
            _slirp.Wake();
    }

    /// <summary>Whether an interface may send from an IP address: nobody else does. Any thread.</summary>
    public bool TryClaim(uint address, NatPort port)
    {
        lock (_owners)
        {
            if (_owners.TryGetValue(address, out NatPort? owner))
                return ReferenceEquals(owner, port);
            int claimed = 0;
            foreach (NatPort other in _owners.Values)
                claimed += ReferenceEquals(other, port) ? 1 : 0;
            if (claimed >= MostAddresses)
                return false;
            _owners.Add(address, port);
            return true;
        }
    }

    /// <inheritdoc/>
    public void Deliver(ReadOnlySpan<byte> frame)
    {
        if (frame.Length is < NetworkFrame.LeastBytes or > NetworkFrame.MostBytes)
            return;
        // Slirp made the checksums itself, of what the host's kernel had checked.
        NetworkFrame whole = new(frame, new FrameOffload(FrameChecksum.Verified));
        MacAddress destination = whole.Destination;
        foreach (NatPort port in _ports)
        {
            if (destination.IsGroup || destination == port.Address)
                _ = port.Receiver.Receive(whole);
        }
    }

    private void Work()
    {
        _duties?.Enter(ThreadDuty.Network);
        bool more = true;
        while (true)
        {
            _slirp.Poll(wait: !more);
            // Cleared before looking: who adds something later wakes again.
            Volatile.Write(ref _woken, 0);
            Interlocked.MemoryBarrier();
            if (!DoErrands())
                return;
            more = false;
            foreach (NatPort port in _ports)
                more |= Take(port.Queue);
        }
    }

    private bool Take(FrameQueue queue)
    {
        for (int budget = Budget; budget > 0; budget--)
        {
            if (queue.IsEmpty)
                return false;
            ReadOnlySpan<byte> frame = queue.Peek(out bool opens);
            if (!opens || _slirp.Connections < Plan.Connections)
                _slirp.Input(frame);
            queue.Remove();
        }

        return !queue.IsEmpty;
    }

    private bool DoErrands()
    {
        // Before looking: what was left before the end is done.
        bool isClosed = _errands.IsClosed;
        while (_errands.Take(waits: false) is { } errand)
            _ = _errands.Finish(errand);
        return !isClosed;
    }
}
