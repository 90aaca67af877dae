using System.Text;
using Tmds.Linux;

namespace Tessera.Common;

/// <summary>What a path is, links not followed. .NET does not tell a socket from a file.</summary>
/// <param name="Mode">Kind and permissions, st_mode.</param>
/// <param name="Owner">The owner's number.</param>
/// <param name="Group">The group's number.</param>
internal readonly record struct FileFacts(uint Mode, uint Owner, uint Group)
{
    private const uint KindMask = 0xF000;
    private const uint Pipe = 0x1000;
    private const uint Folder = 0x4000;
    private const uint File = 0x8000;
    private const uint Socket = 0xC000;

    /// <summary>A socket.</summary>
    public bool IsSocket => (Mode & KindMask) == Socket;

    /// <summary>A folder.</summary>
    public bool IsFolder => (Mode & KindMask) == Folder;

    /// <summary>A file with contents of its own: no folder, device, pipe or socket.</summary>
    public bool IsFile => (Mode & KindMask) == File;

    /// <summary>A pipe, with a name or without.</summary>
    public bool IsPipe => (Mode & KindMask) == Pipe;

    /// <summary>Whom this process acts as.</summary>
    public static uint CurrentUser => LibC.geteuid();

    /// <summary>Anybody may write there.</summary>
    public bool IsWritableByOthers => (Mode & 2) != 0;

    /// <summary>Others than its owner have rights to it.</summary>
    public bool IsShared => (Mode & 0x3F) != 0;

    /// <summary>Looks; null when there is nothing, or nothing that may be looked at.</summary>
    public static unsafe FileFacts? Of(string path)
    {
        statx facts;
        // SAFETY: a path that ends with a zero, pinned for the call, and a local for the answer. Tmds.LibC's lstat stands on an entry of glibc's that new programs are not to use.
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            if (LibC.statx(LibC.AT_FDCWD, name, LibC.AT_SYMLINK_NOFOLLOW, LibC.STATX_TYPE | LibC.STATX_MODE | LibC.STATX_UID | LibC.STATX_GID, &facts) != 0)
                return null;
        }

        return new FileFacts(facts.stx_mode, facts.stx_uid, facts.stx_gid);
    }
}
