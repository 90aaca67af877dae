using System.Text;
using Tessera.Images.Compression;

namespace Tessera.Images;

/// <summary>The real-mode header of a Linux bzImage, as far as finding the payload goes (the x86 boot protocol, 2.08 and later).</summary>
internal static class BzImage
{
    private const int MagicOffset = 0x202;
    private const ushort FirstVersionWithPayload = 0x0208;
    private const int SectorBytes = 512;
    private const int MaxVersionBytes = 256;

    // A smaller kernel than an ELF header and one program header is none.
    private const int SmallestElf = 64 + 56;

    public static bool HasMagic(ReadOnlySpan<byte> file) => file.Length >= MagicOffset + 4 && file[MagicOffset..].StartsWith("HdrS"u8);

    // setup_header.kernel_version points, less 0x200, to a string that ends at a NUL; informational, so a pointer astray is no error.
    public static string? ReadVersion(ImageBytes image)
    {
        int pointer = image.U16(0x20e, "setup_header.kernel_version");
        ReadOnlySpan<byte> file = image.Memory.Span;
        int at = pointer + SectorBytes;
        if (pointer == 0 || at >= file.Length)
            return null;
        ReadOnlySpan<byte> text = file[at..Math.Min(at + MaxVersionBytes, file.Length)];
        int end = text.IndexOf((byte)0);
        return end <= 0 || text[..end].ContainsAnyExceptInRange((byte)' ', (byte)'~') ? null : Encoding.ASCII.GetString(text[..end]);
    }

    public static (byte[] Payload, string Compression) Unpack(ImageBytes image)
    {
        ushort version = image.U16(0x206, "setup_header.version");
        if (version < FirstVersionWithPayload)
            throw image.Fail("setup_header.version", $"boot protocol {version >> 8}.{version & 0xff:d2} has no payload offset", "Linux 2.6.26 and later (protocol 2.08) have one");
        // 0 stands for 4: the oldest boot loaders left the field empty.
        int setupSectors = image.U8(0x1f1, "setup_header.setup_sects");
        ulong start = (ulong)((setupSectors == 0 ? 4 : setupSectors) + 1) * SectorBytes;
        ulong offset = start + image.U32(0x248, "setup_header.payload_offset");
        uint length = image.U32(0x24c, "setup_header.payload_length");
        ReadOnlyMemory<byte> payload = image.Slice(offset, length, "setup_header.payload_offset/payload_length");
        if (length < 16)
            throw image.Fail("setup_header.payload_length", $"a payload of {length} bytes holds no kernel", "The file is damaged: fetch it again");

        string where = $"payload at offset 0x{offset:x}";
        IPayloadCodec codec = PayloadCodecs.Find(image, payload.Span, where);
        // Linux's build puts the unpacked size after the payload; in gzip's own format it is the last field anyway.
        uint unpacked = new ImageBytes(payload, image.File).U32(length - 4, where);
        if (unpacked is < SmallestElf or > ImageLimits.MaxUnpackedBytes)
            throw image.Fail(where, $"it says to unpack to {unpacked} bytes", $"A kernel takes {SmallestElf} to {ImageLimits.MaxUnpackedBytes} bytes");
        byte[] kernel = LargeBuffer.Allocate((int)unpacked);
        ReadOnlySpan<byte> compressed = payload.Span[..(codec.OwnsTrailer ? (int)length : (int)length - 4)];
        DecodeResult result = codec.Decode(compressed, kernel);
        if (result.Problem is not null)
            throw image.Fail(where, $"{codec.Name} cannot unpack it: {result.Problem}", "The file is damaged: fetch it again");
        if (result.Written != kernel.Length)
            throw image.Fail(where, $"it unpacked to {result.Written} bytes instead of {kernel.Length}", "The file is damaged: fetch it again");
        return (kernel, codec.Name);
    }
}
