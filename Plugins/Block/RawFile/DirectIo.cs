using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;

namespace Tessera.Plugins.Block.RawFile;

/// <summary>What direct I/O on a file must be aligned to.</summary>
internal static unsafe class DirectIo
{
    private const int Page = 4096;

    /// <summary>
    /// The smallest power of two from 512 on that the file takes, found by reading its beginning; 4096 when it is empty. Asking is
    /// newer (statx, Linux 6.1) and not answered by every file system, trying always is.
    /// </summary>
    public static int Alignment(SafeFileHandle file)
    {
        byte* memory = (byte*)NativeMemory.AlignedAlloc(2 * Page, Page);
        try
        {
            for (int size = 512; size < Page; size *= 2)
            {
                // SAFETY: size bytes from an offset of size lie within the two pages.
                IoVector vector = new() { Address = (nint)(memory + size), Length = (nuint)size };
                if (FileNative.Read(file, &vector, 1, size, 0) == size)
                    return size;
            }

            return Page;
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }
}
