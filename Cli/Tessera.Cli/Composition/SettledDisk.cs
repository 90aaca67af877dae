using Tessera.Sdk.Devices;

namespace Tessera.Cli.Composition;

/// <summary>
/// A disk in virtual time: a request has been carried out when its submission returns, however the backend does that, so that the machine does not depend on how fast the host's
/// storage is. Used by the thread that drives the machine.
/// </summary>
internal sealed class SettledDisk : IBlockBackend
{
    private const int FewSegments = 256;

    private readonly IBlockBackend _inner;
    private readonly ManualResetEventSlim _done = new();
    private BlockRequest _request;
    private int _segments = FewSegments;

    /// <summary>Puts one over a backend.</summary>
    public SettledDisk(IBlockBackend inner)
    {
        _inner = inner;
        _request = Request();
    }

    /// <inheritdoc/>
    public string? Problem => _inner.Problem;

    /// <inheritdoc/>
    public BlockGeometry Open(BlockAccess access) => _inner.Open(access);

    /// <inheritdoc/>
    public void Submit(BlockRequest request)
    {
        if (request.Segments.Length > _segments)
        {
            _segments = request.Segments.Length;
            _request = Request();
        }

        bool moves = request.Operation is BlockOperation.Read or BlockOperation.Write;
        _request.Prepare(request.Operation, request.Offset, moves ? 0 : request.Length);
        foreach (ref readonly Memory<byte> segment in request.Segments)
            _request.Append(segment);
        _done.Reset();
        _inner.Submit(_request);
        _done.Wait();
        request.Complete(_request.Status);
    }

    /// <inheritdoc/>
    public T? TryGet<T>()
        where T : class => _inner.TryGet<T>();

    /// <inheritdoc/>
    public void Dispose()
    {
        _inner.Dispose();
        _done.Dispose();
    }

    private BlockRequest Request() => new(_segments, _ => _done.Set());
}
