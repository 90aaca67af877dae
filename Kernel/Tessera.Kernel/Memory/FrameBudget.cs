using Tessera.Sdk;

namespace Tessera.Kernel.Memory;

/// <summary>How many frames the machine has to give, and how many each domain holds. Any thread.</summary>
/// <param name="limitFrames">How many frames all domains together may hold.</param>
public sealed class FrameBudget(long limitFrames)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<DomainId, (long Memory, long Shared)> _held = [];
    private readonly Dictionary<DomainId, long> _released = [];
    private long _assignedFrames;

    /// <summary>How many frames all domains together may hold.</summary>
    public long LimitFrames => limitFrames;

    /// <summary>How many frames all domains hold now.</summary>
    public long AssignedFrames => Interlocked.Read(ref _assignedFrames);

    /// <summary>Gives a new domain its frames.</summary>
    /// <param name="owner">A domain that holds none.</param>
    /// <param name="frames">Frames of memory, which it may give back one by one.</param>
    /// <param name="shared">Frames that the VMM shares with it for as long as it is there.</param>
    /// <returns>False when the machine has not so many; nothing changed.</returns>
    public bool TryAssign(DomainId owner, long frames, long shared = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frames, 1);
        lock (_gate)
        {
            if (frames + shared > limitFrames - _assignedFrames)
                return false;
            _held.Add(owner, (frames, shared));
            _ = Interlocked.Add(ref _assignedFrames, frames + shared);
            return true;
        }
    }

    /// <summary>Gives a domain more memory.</summary>
    /// <returns>False when the machine has not so much; nothing changed.</returns>
    public bool TryGrow(DomainId owner, long frames)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(frames);
        lock (_gate)
        {
            if (frames > limitFrames - _assignedFrames)
                return false;
            (long memory, long shared) = _held[owner];
            _held[owner] = (memory + frames, shared);
            _ = Interlocked.Add(ref _assignedFrames, frames);
            return true;
        }
    }

    /// <summary>Takes so much of a domain's memory back.</summary>
    public void Release(DomainId owner, long frames)
    {
        lock (_gate)
        {
            (long memory, long shared) = _held[owner];
            ArgumentOutOfRangeException.ThrowIfGreaterThan(frames, memory);
            _held[owner] = (memory - frames, shared);
            Freed(owner, frames, frames);
        }
    }

    /// <summary>Takes all of a domain's frames back.</summary>
    public void Return(DomainId owner)
    {
        lock (_gate)
        {
            if (_held.Remove(owner, out (long Memory, long Shared) held))
                Freed(owner, held.Memory, held.Memory + held.Shared);
        }
    }

    /// <summary>Whether a domain of this number holds frames.</summary>
    internal bool HasFrames(DomainId domain)
    {
        lock (_gate)
            return _held.ContainsKey(domain);
    }

    /// <summary>How much memory a domain holds, without the shared frames.</summary>
    internal long MemoryOf(DomainId domain)
    {
        lock (_gate)
            return _held.TryGetValue(domain, out (long Memory, long Shared) held) ? held.Memory : 0;
    }

    /// <summary>What memory came back since the last call, by domain; each amount is told once.</summary>
    internal IReadOnlyList<(DomainId Domain, long Frames)> TakeReleased()
    {
        lock (_gate)
        {
            if (_released.Count == 0)
                return [];
            (DomainId, long)[] released = [.. _released.Select(static pair => (pair.Key, pair.Value))];
            _released.Clear();
            return released;
        }
    }

    private void Freed(DomainId owner, long memory, long all)
    {
        _ = Interlocked.Add(ref _assignedFrames, -all);
        if (memory > 0)
            _released[owner] = _released.GetValueOrDefault(owner) + memory;
    }
}
