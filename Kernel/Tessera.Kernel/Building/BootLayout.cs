using Tessera.Images;
using Tessera.Kernel.Domains;

namespace Tessera.Kernel.Building;

/// <summary>
/// Where everything lies at a domain's start of day, in pseudo-physical frames, in the order of Xen's domain builder: kernel, initial
/// ramdisk, frame list, start_info, store page, console page, page tables, boot stack; and the virtual range that maps it all.
/// </summary>
internal sealed record BootLayout
{
    private const ulong Block = 4UL << 20;
    private const ulong Padding = 512UL << 10;

    public required long InitrdPfn { get; init; }

    public required long FrameListPfn { get; init; }

    public required long StartInfoPfn { get; init; }

    public required long TablesPfn { get; init; }

    public required long TableFrames { get; init; }

    public required ulong VirtualBase { get; init; }

    public required ulong VirtualEnd { get; init; }

    public long StorePfn => StartInfoPfn + 1;

    public long ConsolePfn => StartInfoPfn + 2;

    public long StackPfn => TablesPfn + TableFrames;

    /// <summary>Virtual address of a pseudo-physical frame.</summary>
    public ulong AddressOf(long pfn) => VirtualBase + ((ulong)pfn << 12);

    /// <summary>Plans a domain's start of day.</summary>
    /// <exception cref="DomainBuildException">The memory is too small, or the image's notes contradict each other.</exception>
    public static BootLayout Plan(string name, KernelImage image, long initrdBytes, long ramFrames)
    {
        ulong virtualBase = image.VirtBase;
        long next = Frames((long)image.HighestPhysical);
        long initrd = next;
        next += Frames(initrdBytes);
        long frameList = next;
        next += Frames(ramFrames * 8);
        long startInfo = next;
        long tables = startInfo + 3;

        // The tables map themselves: their number grows with the range, which grows with their number.
        long tableFrames = 4;
        while (true)
        {
            // No further than the memory reaches: offsets compare, since the range may end at the top of the address space.
            ulong end = virtualBase + Math.Min(VirtualEndFor(virtualBase, tables + tableFrames + 1) - virtualBase, (ulong)ramFrames << 12);
            long needed = 1 + Tables(virtualBase, end, 39) + Tables(virtualBase, end, 30) + Tables(virtualBase, end, 21);
            if (needed <= tableFrames)
            {
                long last = tables + tableFrames + 1;
                if (last > ramFrames)
                {
                    throw new DomainBuildException(
                        $"Domain '{name}': {ramFrames * 4096 >> 10} KiB of memory do not hold the kernel, initial ramdisk and boot tables, which take {last * 4096 >> 10} KiB. Give it more memory.");
                }

                return new BootLayout
                {
                    InitrdPfn = initrd,
                    FrameListPfn = frameList,
                    StartInfoPfn = startInfo,
                    TablesPfn = tables,
                    TableFrames = tableFrames,
                    VirtualBase = virtualBase,
                    VirtualEnd = end,
                };
            }

            tableFrames = needed;
        }
    }

    private static long Frames(long bytes) => (bytes + 4095) / 4096;

    /// <summary>The end of the 4 MiB block that leaves some padding after the stack; Xen's guests rely on the padding and complain about more.</summary>
    private static ulong VirtualEndFor(ulong virtualBase, long usedFrames) =>
        unchecked((virtualBase + ((ulong)usedFrames << 12) + Padding + Block - 1) & ~(Block - 1));

    private static long Tables(ulong start, ulong end, int shift) => (long)(((end - 1) >> shift) - (start >> shift) + 1);
}
