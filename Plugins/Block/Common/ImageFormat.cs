using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block;

/// <summary>Tells files that are no disk byte for byte by how they begin: images of other formats, and packed files.</summary>
internal static unsafe class ImageFormat
{
    private const int Looked = 4096;
    private const int VdiSignature = 64;

    /// <summary>Refuses a file that holds a disk in another form.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">Its path.</param>
    /// <param name="what">What it is, for errors.</param>
    /// <exception cref="BackendException">It does; the message says how to make a plain one of it.</exception>
    public static void Refuse(SafeFileHandle file, string path, string what)
    {
        byte[] bytes = GC.AllocateUninitializedArray<byte>(2 * Looked, pinned: true);
        fixed (byte* memory = bytes)
        {
            // SAFETY: the aligned page lies within the array's two; direct I/O wants it so.
            byte* page = (byte*)(((nint)memory + Looked - 1) & ~(nint)(Looked - 1));
            IoVector vector = new() { Address = (nint)page, Length = Looked };
            long read = FileNative.Read(file, &vector, 1, 0, 0);
            if (Of(new ReadOnlySpan<byte>(page, (int)Math.Max(read, 0))) is not ({ } name, { } cure))
                return;
            throw new BackendException(
                $"{what} {path} is {name}, and the guest would see it as it is.",
                $"Make a plain disk of it ({cure.Replace("FILE", path, StringComparison.Ordinal)}){(name.Contains("image", StringComparison.Ordinal) ? ", serve it with qemu-nbd to the backend nbd" : "")}, or set the option raw if that is what you want.");
        }
    }

    /// <summary>The format's name and how to make a plain disk of it; null for a plain one, as far as its beginning shows.</summary>
    internal static (string Name, string Cure)? Of(ReadOnlySpan<byte> beginning)
    {
        string? image =
            beginning.StartsWith((ReadOnlySpan<byte>)[0x51, 0x46, 0x49, 0xFB]) ? "qcow2"
            : beginning.StartsWith("KDMV"u8) || beginning.StartsWith("COWD"u8) || beginning.StartsWith("# Disk DescriptorFile"u8) ? "vmdk"
            : beginning.StartsWith("vhdxfile"u8) ? "vhdx"
            : beginning.StartsWith("conectix"u8) ? "vpc"
            : beginning.StartsWith("QED\0"u8) ? "qed"
            : beginning.StartsWith("WithoutFreeSpace"u8) || beginning.StartsWith("WithouFreSpacExt"u8) ? "parallels"
            : beginning.Length >= VdiSignature + 4 && beginning[VdiSignature..].StartsWith((ReadOnlySpan<byte>)[0x7F, 0x10, 0xDA, 0xBE]) ? "vdi"
            : null;
        if (image is not null)
            return ($"an image of the format {image}", $"qemu-img convert -f {image} -O raw FILE disk.raw");
        (string Packer, string Program)? packed =
            beginning.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]) ? ("gzip", "gunzip -k")
            : beginning.StartsWith((ReadOnlySpan<byte>)[0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]) ? ("xz", "unxz -k")
            : beginning.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]) ? ("zstd", "unzstd")
            : beginning.StartsWith("BZh"u8) ? ("bzip2", "bunzip2 -k")
            : null;
        return packed is { } found ? ($"packed with {found.Packer}", $"{found.Program} FILE") : null;
    }
}
