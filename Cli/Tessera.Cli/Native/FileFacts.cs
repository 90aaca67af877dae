using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Tessera.Cli.Native;

/// <summary>What a path is, links not followed. .NET does not tell a socket from a file.</summary>
/// <param name="Mode">Kind and permissions, st_mode.</param>
/// <param name="Owner">The owner's number.</param>
internal readonly partial record struct FileFacts(uint Mode, uint Owner)
{
    private const uint KindMask = 0xF000;
    private const uint Folder = 0x4000;
    private const uint Socket = 0xC000;

    /// <summary>struct stat of x86-64 and where the two lie in it.</summary>
    private const int Size = 144;
    private const int ModeAt = 24;
    private const int OwnerAt = 28;

    /// <summary>A socket.</summary>
    public bool IsSocket => (Mode & KindMask) == Socket;

    /// <summary>A folder.</summary>
    public bool IsFolder => (Mode & KindMask) == Folder;

    /// <summary>Others than its owner have rights to it.</summary>
    public bool IsShared => (Mode & 0x3F) != 0;

    /// <summary>Looks; null when there is nothing, or nothing that may be looked at.</summary>
    public static FileFacts? Of(string path)
    {
        Span<byte> facts = stackalloc byte[Size];
        if (Look(path, facts) != 0)
            return null;
        return new FileFacts(BinaryPrimitives.ReadUInt32LittleEndian(facts[ModeAt..]), BinaryPrimitives.ReadUInt32LittleEndian(facts[OwnerAt..]));
    }

    [LibraryImport("libc.so.6", EntryPoint = "lstat", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Look(string path, Span<byte> facts);
}
