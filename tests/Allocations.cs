namespace Tessera.Tests;

/// <summary>What code allocates.</summary>
internal static class Allocations
{
    /// <summary>
    /// The bytes that an action allocates on this thread, the least of five rounds: a collection that another thread brings about meanwhile counts what was left of this
    /// thread's allocation buffer.
    /// </summary>
    public static long LeastOf(Action action)
    {
        long least = long.MaxValue;
        for (int round = 0; round < 5; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            action();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return least;
    }
}
