using System.ComponentModel;
using System.Diagnostics;

namespace Tessera.GuestLibrary;

/// <summary>Runs programs of this host.</summary>
public sealed class HostProcessRunner : IProcessRunner
{
    // What a shell gives for a file that is there but does not run (no permission, a noexec mount).
    private const int CannotExecute = 126;

    /// <inheritdoc/>
    public async Task<ProcessResult> RunAsync(string program, IReadOnlyList<string> arguments, string? workingDirectory, CancellationToken cancellation)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = workingDirectory ?? "",
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // Messages are matched by their English text.
        start.Environment["LC_ALL"] = "C";
        using Process? process = Start(start, out string failure);
        if (process is null)
            return new(CannotExecute, "", failure);
        process.StandardInput.Close();
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(cancellation);
            Task<string> error = process.StandardError.ReadToEndAsync(cancellation);
            await process.WaitForExitAsync(cancellation);
            return new(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    private static Process? Start(ProcessStartInfo start, out string failure)
    {
        const int noSuchFile = 2;
        failure = "";
        try
        {
            return Process.Start(start);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == noSuchFile)
        {
            throw new ProgramMissingException(start.FileName, e);
        }
        catch (Win32Exception e)
        {
            failure = e.Message;
            return null;
        }
    }
}
