using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block;

/// <summary>Requests that wait, linked through themselves: nothing is allocated, and any number may. Under its owner's lock.</summary>
internal struct BlockRequestQueue
{
    private BlockRequest? _first;
    private BlockRequest? _last;

    public readonly bool IsEmpty => _first is null;

    public void Add(BlockRequest request)
    {
        request.Next = null;
        if (_last is null)
            _first = request;
        else
            _last.Next = request;
        _last = request;
    }

    /// <summary>The first; null when none waits.</summary>
    public BlockRequest? Take()
    {
        if (_first is not { } request)
            return null;
        _first = request.Next;
        if (_first is null)
            _last = null;
        request.Next = null;
        return request;
    }
}
