using System.Text;

namespace Tessera.GuestLibrary;

/// <summary>
/// Writes a cpio archive in the "newc" format, the one Linux unpacks as its initial RAM disk (Documentation/driver-api/early-userspace/buffer-format).
/// Same calls, same bytes: times are 0, owners root, inode numbers counted.
/// </summary>
/// <param name="output">Where to; left open.</param>
public sealed class CpioWriter(Stream output)
{
    private const uint TypeDirectory = 0x4000;
    private const uint TypeCharacterDevice = 0x2000;
    private const uint TypeFile = 0x8000;
    private const uint TypeSymlink = 0xa000;

    private readonly HashSet<string> _directories = [];
    private long _written;
    private uint _inode;

    /// <summary>A directory and, before it, those above it that are not in the archive yet.</summary>
    /// <param name="path">Relative, without a leading '/'.</param>
    public void Directory(string path)
    {
        Parents(path);
        if (_directories.Add(path))
            Entry(path, TypeDirectory | 0x1ed, [], 2);
    }

    /// <summary>A file.</summary>
    /// <param name="path">Relative, without a leading '/'.</param>
    /// <param name="data">Its content.</param>
    /// <param name="executable">Mode 0755 instead of 0644.</param>
    public void File(string path, ReadOnlySpan<byte> data, bool executable = false)
    {
        Parents(path);
        Entry(path, TypeFile | (executable ? 0x1edU : 0x1a4U), data, 1);
    }

    /// <summary>A symbolic link.</summary>
    /// <param name="path">Relative, without a leading '/'.</param>
    /// <param name="target">What it points to.</param>
    public void Symlink(string path, string target)
    {
        Parents(path);
        Entry(path, TypeSymlink | 0x1ff, Encoding.UTF8.GetBytes(target), 1);
    }

    /// <summary>A character device, mode 0600.</summary>
    /// <param name="path">Relative, without a leading '/'.</param>
    /// <param name="major">The driver's number.</param>
    /// <param name="minor">The device's number.</param>
    public void CharacterDevice(string path, uint major, uint minor)
    {
        Parents(path);
        Entry(path, TypeCharacterDevice | 0x180, [], 1, major, minor);
    }

    /// <summary>Ends the archive; nothing may follow.</summary>
    public void Finish()
    {
        const int blockBytes = 512;
        _inode = 0;
        Entry("TRAILER!!!", 0, [], 1);
        Pad(blockBytes);
    }

    private void Parents(string path)
    {
        if (path.Length == 0 || path[0] == '/')
            throw new ArgumentException($"\"{path}\" is not a relative path", nameof(path));
        int slash = path.LastIndexOf('/');
        if (slash > 0)
            Directory(path[..slash]);
    }

    private void Entry(string path, uint mode, ReadOnlySpan<byte> data, uint links, uint major = 0, uint minor = 0)
    {
        byte[] name = Encoding.UTF8.GetBytes(path);
        uint inode = mode == 0 ? 0 : ++_inode;
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        Write(Encoding.ASCII.GetBytes($"070701{inode:x8}{mode:x8}{0:x8}{0:x8}{links:x8}{0:x8}{(uint)data.Length:x8}{0:x8}{0:x8}{major:x8}{minor:x8}{(uint)name.Length + 1:x8}{0:x8}"));
        Write(name);
        Write([0]);
        Pad(4);
        Write(data);
        Pad(4);
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        output.Write(bytes);
        _written += bytes.Length;
    }

    private void Pad(int alignment)
    {
        while (_written % alignment != 0)
            Write([0]);
    }
}
