using Tessera.Plugins.Cpu.Kvm.Native;
using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>
/// Zeroed pages for the engine's areas in its machines, pieces of few mappings: each new KVM machine locks every mapping of the process. Any
/// thread. The mappings go when neither this nor an area refers to them any more.
/// </summary>
internal sealed unsafe class AreaPages
{
    // SAFETY: a piece lies inside one of the mappings, and belongs to one area until it is returned.
    private const int PageBytes = 4096;
    private const int PagesAMapping = 4096;
    private const int PopulateForWriting = 23; // MADV_POPULATE_WRITE, Linux 5.14

    private readonly Lock _gate = new();
    private readonly List<MappingHandle> _mappings = [];
    private readonly Dictionary<int, Stack<nint>> _free = [];
    private int _used = PagesAMapping;

    /// <summary>Takes a piece.</summary>
    public nint Take(int pages)
    {
        lock (_gate)
        {
            if (_free.TryGetValue(pages, out Stack<nint>? free) && free.TryPop(out nint again))
                return again;
            if (_used + pages > PagesAMapping)
            {
                _mappings.Add(MappingHandle.Anonymous(PagesAMapping * PageBytes));
                _used = 0;
            }

            nint start = _mappings[^1].Address + (_used * PageBytes);
            _used += pages;
            // Where the host cannot, it does so as they are written.
            _ = LibC.madvise((void*)start, (size_t)(ulong)(pages * PageBytes), PopulateForWriting);
            return start;
        }
    }

    /// <summary>Gives a piece back.</summary>
    public void Return(nint start, int pages)
    {
        new Span<byte>((void*)start, pages * PageBytes).Clear();
        lock (_gate)
        {
            if (!_free.TryGetValue(pages, out Stack<nint>? free))
                _free[pages] = free = new();
            free.Push(start);
        }
    }
}
