using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block;

/// <summary>Opens files of backends with errors that say what to do, and locks them against a second writer.</summary>
internal static class StorageFile
{
    /// <summary>Opens a file that is there, and locks it: alone for writing, together with others for reading.</summary>
    /// <param name="path">The file or block device.</param>
    /// <param name="access">What for.</param>
    /// <param name="direct">Past the host's page cache.</param>
    /// <param name="what">What it is, for errors: "the disk's file".</param>
    /// <exception cref="BackendException">It cannot be opened or locked.</exception>
    public static SafeFileHandle Open(string path, BlockAccess access, bool direct, string what)
    {
        int flags = (access == BlockAccess.ReadOnly ? FileNative.OpenReadOnly : FileNative.OpenReadWrite) | (direct ? FileNative.OpenDirect : 0);
        int error = FileNative.Open(path, flags, 0, out SafeFileHandle file);
        if (error < 0)
        {
            throw new BackendException($"{what} {path} cannot be opened for {(access == BlockAccess.ReadOnly ? "reading" : "writing")} ({Marshal.GetPInvokeErrorMessage(-error)}).", -error switch
            {
                2 => "There is no such file: create it, or correct the path.",
                FileNative.Access or FileNative.ReadOnlyFileSystem => "Give this user access to it, or set readOnly.",
                FileNative.Invalid when direct => "Its file system does not support direct I/O: leave the option direct out.",
                _ => "Check the path.",
            });
        }

        Lock(file, path, access, what);
        return file;
    }

    /// <summary>Locks an open file, or closes it and says who is in the way.</summary>
    /// <exception cref="BackendException">Another holds it.</exception>
    public static void Lock(SafeFileHandle file, string path, BlockAccess access, string what)
    {
        int error = FileNative.Lock(file, (access == BlockAccess.ReadOnly ? FileNative.LockShared : FileNative.LockExclusive) | FileNative.LockNonBlocking);
        if (error == 0)
            return;
        file.Dispose();
        throw new BackendException(
            $"{what} {path} is in use (flock: {Marshal.GetPInvokeErrorMessage(-error)}): {(access == BlockAccess.ReadOnly ? "somebody writes it" : "another disk has it open")}.",
            access == BlockAccess.ReadOnly ? "Wait for the writer, or give each its own copy." : "Two writers would destroy it: give each domain its own file, or put copy-on-write over a shared one.");
    }

    /// <summary>Its size.</summary>
    /// <exception cref="BackendException">It has none.</exception>
    public static long Size(SafeFileHandle file, string path, string what)
    {
        long size = FileNative.Size(file);
        return size >= 0 ? size : throw new BackendException($"{what} {path} has no size (lseek: {Marshal.GetPInvokeErrorMessage((int)-size)}).", "Name a regular file or a block device.");
    }
}
