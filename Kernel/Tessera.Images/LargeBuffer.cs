using Tmds.Linux;

namespace Tessera.Images;

/// <summary>Memory for what is unpacked.</summary>
internal static unsafe class LargeBuffer
{
    private const nuint HugePage = 2 << 20;

    /// <summary>An array, not cleared. The host is asked for huge pages behind a large one: tens of thousands of first touches take longer than the unpacking.</summary>
    public static byte[] Allocate(int bytes)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(bytes, pinned: true);
        fixed (byte* first = buffer)
        {
            nuint start = ((nuint)first + HugePage - 1) & ~(HugePage - 1);
            nuint end = ((nuint)first + (nuint)bytes) & ~(HugePage - 1);
            // SAFETY: whole pages inside the array, which is private memory; the advice changes nothing of what is in them.
            if (end > start)
                _ = LibC.madvise((void*)start, (size_t)(ulong)(end - start), LibC.MADV_HUGEPAGE);
        }

        return buffer;
    }
}
