using Tessera.Sdk;

namespace Tessera.Kernel.Memory;

/// <summary>How many frames the machine has to give, and how many each domain holds. Any thread.</summary>
/// <param name="limitFrames">How many frames all domains together may hold.</param>
public sealed class FrameBudget(long limitFrames)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<DomainId, long> _held = [];
    private long _assignedFrames;

    /// <summary>How many frames all domains hold now.</summary>
    public long AssignedFrames => Interlocked.Read(ref _assignedFrames);

    /// <summary>Gives a domain its frames.</summary>
    /// <exception cref="OutOfFramesException">The machine's limit would be exceeded; nothing changed.</exception>
    public void Assign(DomainId owner, long frames)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frames, 1);
        lock (_gate)
        {
            if (frames > limitFrames - _assignedFrames)
                throw new OutOfFramesException(owner, frames, limitFrames, _assignedFrames);
            _held.Add(owner, frames);
            _ = Interlocked.Add(ref _assignedFrames, frames);
        }
    }

    /// <summary>Takes a domain's frames back.</summary>
    public void Return(DomainId owner)
    {
        lock (_gate)
        {
            if (_held.Remove(owner, out long frames))
                _ = Interlocked.Add(ref _assignedFrames, -frames);
        }
    }

    /// <summary>Whether a domain of this number holds frames.</summary>
    internal bool HasFrames(DomainId domain)
    {
        lock (_gate)
            return _held.ContainsKey(domain);
    }
}

/// <summary>The machine has fewer free frames than asked for.</summary>
public sealed class OutOfFramesException : Exception
{
    /// <summary>Says who asked for how much, and what there is.</summary>
    public OutOfFramesException(DomainId owner, long asked, long limit, long assigned)
        : base($"{owner} asks for {asked} frames ({asked / 256.0:0.##} MiB), but of the machine's {limit} frames ({limit / 256.0:0.##} MiB) " +
            $"{assigned} are in use and {limit - assigned} are left. Give the machine more memory or the domains less.")
    {
    }
}
