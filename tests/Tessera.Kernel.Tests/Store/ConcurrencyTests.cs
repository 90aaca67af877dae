using System.Runtime.InteropServices;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>The store from many threads at once, and its own.</summary>
internal sealed class ConcurrencyTests
{
    [Test]
    public void Counters_raised_in_transactions_by_many_threads_lose_nothing()
    {
        const int Threads = 6;
        const int Rounds = 300;
        StoreClient client = new(new XenStore());
        client.Write("/shared", "0");
        Parallel.For(0, Threads, new ParallelOptions { MaxDegreeOfParallelism = Threads }, thread =>
        {
            for (int round = 0; round < Rounds; round++)
            {
                client.Transact(transaction =>
                {
                    transaction.Write("/shared", $"{int.Parse(transaction.Read("/shared")!) + 1}");
                    transaction.Write($"/own/{thread}", $"{int.Parse(transaction.Read($"/own/{thread}") ?? "0") + 1}");
                });
            }
        });
        Assert.That(client.Read("/shared"), Is.EqualTo($"{Threads * Rounds}"));
        Assert.That(Enumerable.Range(0, Threads).Select(thread => client.Read($"/own/{thread}")), Is.All.EqualTo($"{Rounds}"));
    }

    [Test]
    public unsafe void The_servers_thread_serves_a_ring_while_others_write_and_the_connection_goes()
    {
        XenStore store = new();
        List<string> failures = [];
        using StoreServer server = new(TimeProvider.System, (domain, exception) => failures.Add($"{domain}: {exception}"));
        StoreClient domain0 = new(store);
        for (ushort number = 1; number <= 20; number++)
        {
            DomainId domain = new(number);
            store.Introduce(domain, "guest");
            // SAFETY: freed after Close has returned; offsets are in its 4096 bytes.
            byte* page = (byte*)NativeMemory.AllocZeroed(4096);
            using ManualResetEventSlim answered = new();
            StoreConnection connection = new(domain, new StoreRingPage((nint)page), store, server, answered.Set);
            StoreHeader.Message(StoreMessage.Watch, 1, 0, "data\0t\0"u8).CopyTo(new Span<byte>(page, 1024));
            Volatile.Write(ref *(uint*)(page + StoreRing.RequestProd), StoreHeader.Bytes + 7);
            connection.Notified();
            Assert.That(answered.Wait(Hang.Limit), Is.True);
            Parallel.For(0, 50, index => domain0.Write($"/local/domain/{number}/data/{index}", "x"));
            connection.Close();
            NativeMemory.Clear(page, 4096);
            domain0.Write($"/local/domain/{number}/data", "after");
            connection.Notified();
            store.Release(domain);
            Assert.That(new Span<byte>(page, 4096).IndexOfAnyExcept((byte)0), Is.Negative, "a closed connection's page is not touched");
            NativeMemory.Free(page);
        }

        Assert.That(failures, Is.Empty);
    }
}
