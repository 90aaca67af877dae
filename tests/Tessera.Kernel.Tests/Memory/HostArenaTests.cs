using Tessera.Kernel.Native;

namespace Tessera.Kernel.Tests;

/// <summary>Pieces of the machine's host memory.</summary>
internal sealed unsafe class HostArenaTests
{
    private const long Page = 4096;
    private const long Huge = 2 << 20;

    [Test]
    public void Pieces_are_aligned_and_apart_and_read_as_zero_whoever_had_them()
    {
        using HostArena arena = new();
        Random random = new(1204);
        List<(nint Start, long Bytes)> taken = [];
        for (int step = 0; step < 2000; step++)
        {
            if (taken.Count > 0 && random.Next(2) == 0)
            {
                int index = random.Next(taken.Count);
                arena.Return(taken[index].Start, taken[index].Bytes);
                taken.RemoveAt(index);
                continue;
            }

            long bytes = random.Next(4) == 0 ? Huge + (random.Next(600) * Page) : (1 + random.Next(500)) * Page;
            nint start = arena.Take(bytes);
            Assert.That((long)start % (bytes < Huge ? Page : Huge), Is.Zero);
            foreach ((nint other, long length) in taken)
                Assert.That(start + (nint)bytes <= other || other + (nint)length <= start, Is.True, "two pieces share memory");
            // SAFETY: the first and last page of a piece just taken.
            Span<byte> first = new((void*)start, (int)Page), last = new((void*)(start + (nint)(bytes - Page)), (int)Page);
            Assert.That(first.ContainsAnyExcept((byte)0) || last.ContainsAnyExcept((byte)0), Is.False, "what somebody else had is still there");
            first.Fill(0xee);
            last.Fill(0xee);
            taken.Add((start, bytes));
        }

        foreach ((nint start, long bytes) in taken)
            arena.Return(start, bytes);
    }

    [Test]
    public void What_was_returned_in_any_order_is_one_piece_again()
    {
        using HostArena arena = new();
        nint[] pieces = [.. Enumerable.Range(0, 100).Select(_ => arena.Take(Page))];
        foreach (nint piece in pieces.Where((_, index) => index % 2 == 0).Concat(pieces.Where((_, index) => index % 2 == 1)))
            arena.Return(piece, Page);
        Assert.That(arena.Take(100 * Page), Is.EqualTo(pieces.Min()));
        arena.Return(pieces.Min(), 100 * Page);
    }

    [Test]
    public void A_piece_that_is_still_held_outlives_the_arena()
    {
        HostArena arena = new();
        nint held = arena.Take(Page), other = arena.Take(Page);
        arena.Return(other, Page);
        arena.Dispose();
        // SAFETY: the piece is not returned yet.
        *(byte*)held = 1;
        Assert.That(() => arena.Take(Page), Throws.TypeOf<ObjectDisposedException>());
        arena.Return(held, Page);
    }
}
