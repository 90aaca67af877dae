using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Throttle;

/// <summary>
/// Bounds another backend's rate, and divides a group's rate between disks by weight: what the paper's block scheduling lacked (section 3.3.4
/// serves domains round robin, whatever they are worth). A flush, a discard and a run of zeroes count as a request of no bytes.
/// </summary>
[Plugin("throttle", PluginKind.BlockBackend, "1.0.0", Summary = "Bounds the rate of another backend, and shares a rate between disks by weight.", Options = typeof(ThrottleOptions))]
public sealed class Throttle : IBlockBackend
{
    private readonly ThrottleOptions _options;
    private readonly IBlockBackend _inner;
    private readonly IMachineScope _scope;
    private readonly TimeProvider _time;
    private ThrottleGroup? _group;
    private ThrottledDisk? _disk;
    private volatile BlockGeometry _geometry = new() { Size = 0 };

    /// <summary>Puts a throttle over a backend.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="inner">The backend.</param>
    /// <param name="scope">Where groups are.</param>
    /// <param name="time">What seconds are measured by.</param>
    public Throttle(ThrottleOptions options, IBlockBackend inner, IMachineScope scope, TimeProvider time) => (_options, _inner, _scope, _time) = (options, inner, scope, time);

    /// <inheritdoc/>
    public string? Problem => _inner.Problem;

    private bool IsAlone => _options.Group.Length == 0;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access)
    {
        if (IsAlone && (_options.GroupIops > 0 || _options.GroupBytesPerSecond.Bytes > 0))
            throw new BackendException("throttle: groupIops and groupBytesPerSecond are the bounds of a group, but no group is named.", "Name the group, or use iops and bytesPerSecond.");
        _geometry = _inner.Open(access);
        _group = IsAlone ? new ThrottleGroup(_options, _time) : _scope.Share($"throttle/{_options.Group}", () => new ThrottleGroup(_options, _time));
        if (!IsAlone && _group.Bounds != (_options.GroupIops, _options.GroupBytesPerSecond.Bytes))
        {
            throw new BackendException(
                $"throttle: the group \"{_options.Group}\" has the bounds {_group.Bounds.Iops} requests and {_group.Bounds.BytesPerSecond} bytes a second, and this disk sets {_options.GroupIops} and {_options.GroupBytesPerSecond.Bytes}.",
                "Give all disks of a group the same groupIops and groupBytesPerSecond.");
        }

        _disk = new ThrottledDisk(_options, _inner);
        _group.Add(_disk);
        return _geometry;
    }

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        // What the backend refuses anyway costs nothing.
        if (_geometry.Check(request) == BlockStatus.Ok)
            _group!.Submit(_disk!, request);
        else
            _inner.Submit(request);
    }

    /// <inheritdoc/>
    public T? TryGet<T>()
        where T : class
    {
        T? beneath = _inner.TryGet<T>();
        return typeof(T) == typeof(IGrowingStorage) && beneath is IGrowingStorage growing ? new Growth(this, growing) as T : beneath;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disk is not null)
            _group!.Remove(_disk);
        _inner.Dispose();
        if (IsAlone)
            _group?.Dispose();
    }

    /// <summary>The storage beneath grows, and requests for more of it are let through.</summary>
    private sealed class Growth(Throttle throttle, IGrowingStorage beneath) : IGrowingStorage
    {
        public long Grow()
        {
            throttle._geometry = throttle._geometry with { Size = beneath.Grow() };
            return throttle._geometry.Size;
        }
    }
}
