using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>
/// What a domain grants to others (public/grant_table.h): the table shared with the guest, and beside it the VMM's own account of every grant in use. A pin
/// on a grant keeps the frame its owner's and its memory mapped, also when the domain dies; one for writing keeps it from becoming a page or descriptor table.
/// </summary>
/// <remarks>Any thread. One lock a table, and never two tables' at a time; a grant passed on is pinned at both ends, the outer first.</remarks>
internal sealed partial class GrantTable
{
    /// <summary>Frames of entries at most.</summary>
    public const int MaxFrames = DomainMemory.GrantFrames;

    // As in Xen, where the counts have 7 bits: nobody needs one grant so often at once.
    private const int MaxPins = 128;
    private const int ChunkEntries = 512;
    private const int MaxRetries = 5;
    private const ushort PageBytes = 4096;

    private readonly Lock _gate = new();
    private readonly DomainId _domain;
    private readonly FrameTable _frames;
    private readonly GuestWrites _writes;
    private readonly IGrantDirectory _directory;
    private readonly GrantEntries _entries;
    private readonly ActiveGrant[]?[] _active = new ActiveGrant[]?[(GrantEntries.CountIn(1, MaxFrames) + ChunkEntries - 1) / ChunkEntries];
    private int _version = 1;
    private int _frameCount = 1;
    private long _pins;
    private long _mapped;
    private bool _closed;
    private Action? _lastUnpinned;

    /// <summary>A table of one frame, version 1.</summary>
    public GrantTable(DomainId domain, FrameTable frames, DomainMemory memory, GuestWrites writes, IGrantDirectory directory)
    {
        (_domain, _frames, Memory, _writes, _directory) = (domain, frames, memory, writes, directory);
        _entries = new GrantEntries(memory, writes);
    }

    /// <summary>The memory that its frames lie in.</summary>
    public DomainMemory Memory { get; }

    /// <summary>A frame's count was wrong when a pin was given back: the guest had changed page tables itself.</summary>
    public bool HadFalseAccounts { get; private set; }

    /// <summary>Version in force, 1 or 2.</summary>
    public int Version
    {
        get
        {
            lock (_gate)
                return _version;
        }
    }

    /// <summary>Frames of entries in use.</summary>
    public int FrameCount
    {
        get
        {
            lock (_gate)
                return _frameCount;
        }
    }

    /// <summary>Frames of status in use; 0 in version 1.</summary>
    public int StatusFrameCount
    {
        get
        {
            lock (_gate)
                return _version == 1 ? 0 : GrantEntries.StatusFramesFor(_frameCount);
        }
    }

    /// <summary>Pins held now: mappings, and copies under way.</summary>
    public long Pins => Interlocked.Read(ref _pins);

    /// <summary>Pins taken so far.</summary>
    public long Taken => Interlocked.Read(ref _mapped);

    /// <summary>The table of a live domain, and this one for its own; null for numbers that are none.</summary>
    public GrantTable? Find(ushort domain) => domain == DomainIds.Self || domain == _domain.Value ? this : _directory.FindGrants(domain);

    /// <summary>Makes the table at least so many frames long.</summary>
    /// <returns>False when that is more than there are.</returns>
    public bool TryGrow(uint frames)
    {
        if (frames > MaxFrames)
            return false;
        lock (_gate)
            _frameCount = Math.Max(_frameCount, (int)frames);
        return true;
    }

    /// <summary>GNTTABOP_set_version: EBUSY while a grant but the reserved ones is in use or the guest maps a frame of status that version 1 has not, ERANGE when a reserved one cannot be said in version 1.</summary>
    public XenErrno SetVersion(uint version)
    {
        if (version is not (1 or 2))
            return XenErrno.EINVAL;
        lock (_gate)
        {
            if (version == _version)
                return XenErrno.Success;
            for (uint reference = GrantLayout.ReservedEntries; reference < GrantEntries.CountIn(_version, _frameCount); reference++)
            {
                ActiveGrant[]? chunk = _active[reference / ChunkEntries];
                if (chunk is null)
                    reference |= ChunkEntries - 1;
                else if (chunk[reference % ChunkEntries].Pins != 0)
                    return XenErrno.EBUSY;
            }

            if (version == 1 && !_entries.CanBecomeVersion1())
                return XenErrno.ERANGE;
            if (version == 1 && HasMappedStatus())
                return XenErrno.EBUSY;
            _entries.Convert(_version, _frameCount);
            _version = (int)version;
            return XenErrno.Success;
        }
    }

    private bool HasMappedStatus()
    {
        for (int index = 0; index < GrantEntries.StatusFramesFor(_frameCount); index++)
        {
            // A mapping is a reference, or one more of the type that the VMM itself holds once.
            Mfn frame = Memory.GrantStatusFrame(index);
            if (_frames.ReferencesOf(frame) != 0 || _frames.TypeOf(frame).Count > 1)
                return true;
        }

        return false;
    }

    /// <summary>GNTTABOP_swap_grant_ref.</summary>
    public GrantStatus Swap(uint first, uint second)
    {
        lock (_gate)
        {
            uint count = GrantEntries.CountIn(_version, _frameCount);
            if (first >= count || second >= count)
                return GrantStatus.BadGntref;
            if (first == second)
                return GrantStatus.Okay;
            if (Active(first).Pins != 0 || Active(second).Pins != 0)
                return GrantStatus.Eagain;
            _entries.Swap(_version, first, second);
            return GrantStatus.Okay;
        }
    }

    /// <summary>The domain dies: nothing new is pinned from now on. The caller counts as a user until <see cref="LetGo"/>.</summary>
    /// <param name="lastUnpinned">Called once by whoever is the last user, outside any lock.</param>
    /// <returns>True when nobody else uses a grant.</returns>
    public bool Close(Action lastUnpinned)
    {
        lock (_gate)
        {
            _closed = true;
            _lastUnpinned = lastUnpinned;
            return ++_pins == 1;
        }
    }

    /// <summary>The one who closed the table needs its memory no longer.</summary>
    public void LetGo()
    {
        Action? lastUnpinned;
        lock (_gate)
            lastUnpinned = DropPin();
        lastUnpinned?.Invoke();
    }

    /// <summary>Frames that something outside the domain still uses.</summary>
    public HashSet<Mfn> PinnedFrames()
    {
        HashSet<Mfn> frames = [];
        lock (_gate)
        {
            foreach (ActiveGrant[]? chunk in _active)
            {
                foreach (ActiveGrant active in chunk ?? [])
                {
                    if (active is { Pins: > 0, IsTransitive: false })
                        _ = frames.Add(active.Frame);
                }
            }
        }

        return frames;
    }

    private Action? DropPin()
    {
        if (--_pins > 0 || !_closed)
            return null;
        Action? lastUnpinned = _lastUnpinned;
        _lastUnpinned = null;
        return lastUnpinned;
    }

    // Allocated as references come into use: most domains use a few hundred of sixteen thousand.
    private ref ActiveGrant Active(uint reference)
    {
        ref ActiveGrant[]? chunk = ref _active[reference / ChunkEntries];
        chunk ??= new ActiveGrant[ChunkEntries];
        return ref chunk[reference % ChunkEntries];
    }
}
