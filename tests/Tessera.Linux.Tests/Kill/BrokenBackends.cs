namespace Tessera.Linux.Tests.Kill;

/// <summary>Decorating backends that break the contract, each in one way; the kill test must notice them.</summary>
internal static class BrokenBackends
{
    private const string Usings = """
        using System.Collections.Generic;
        using System.Threading;
        using Tessera.Sdk.Devices;

        """;

    /// <summary>Answers a flush without passing it on.</summary>
    public const string Deaf = Usings + """
        [Plugin("deaf", PluginKind.BlockBackend, "1.0.0")]
        public sealed class Deaf(IBlockBackend inner) : IBlockBackend
        {
            public BlockGeometry Open(BlockAccess access) => inner.Open(access);

            public void Submit(BlockRequest request)
            {
                if (request.Operation == BlockOperation.Flush)
                    request.Complete(BlockStatus.Ok);
                else
                    inner.Submit(request);
            }

            public void Dispose() => inner.Dispose();
        }
        """;

    /// <summary>Acknowledges a write, and the flush after it, two seconds before it writes; in order, and reads see it.</summary>
    public const string Late = Usings + """
        [Plugin("late", PluginKind.BlockBackend, "1.0.0")]
        public sealed class Late : IBlockBackend
        {
            private readonly IBlockBackend _inner;
            private readonly Queue<(long Due, BlockRequest Request)> _queue = [];
            private readonly ManualResetEventSlim _done = new();
            private readonly Thread _thread;
            private BlockGeometry _geometry = new() { Size = 0 };
            private bool _stopping;

            public Late(IBlockBackend inner)
            {
                _inner = inner;
                _thread = new Thread(Work) { IsBackground = true };
            }

            public BlockGeometry Open(BlockAccess access)
            {
                _geometry = _inner.Open(access);
                _thread.Start();
                return _geometry;
            }

            public void Submit(BlockRequest request)
            {
                lock (_queue)
                {
                    if (request.Operation == BlockOperation.Read || _geometry.Check(request) != BlockStatus.Ok)
                    {
                        Pass(long.MaxValue);
                        _inner.Submit(request);
                        return;
                    }

                    BlockRequest own = new(1, _ => _done.Set());
                    if (request.Operation == BlockOperation.Write)
                    {
                        byte[] copy = new byte[request.Length];
                        int at = 0;
                        foreach (var segment in request.Segments)
                        {
                            segment.Span.CopyTo(copy.AsSpan(at));
                            at += segment.Length;
                        }

                        own.Prepare(request.Operation, request.Offset);
                        own.Append(copy);
                    }
                    else
                    {
                        own.Prepare(request.Operation, request.Offset, request.Length);
                    }

                    _queue.Enqueue((Environment.TickCount64 + 2000, own));
                }

                request.Complete(BlockStatus.Ok);
            }

            public void Dispose()
            {
                _stopping = true;
                _thread.Join();
                lock (_queue)
                    Pass(long.MaxValue);
                _inner.Dispose();
            }

            private void Work()
            {
                while (!_stopping)
                {
                    Thread.Sleep(5);
                    lock (_queue)
                        Pass(Environment.TickCount64);
                }
            }

            private void Pass(long until)
            {
                while (_queue.TryPeek(out var next) && next.Due <= until)
                {
                    _queue.Dequeue();
                    _done.Reset();
                    _inner.Submit(next.Request);
                    _done.Wait();
                }
            }
        }
        """;
}
