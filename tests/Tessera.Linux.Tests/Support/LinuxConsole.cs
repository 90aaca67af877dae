using System.Diagnostics;
using System.Text;
using Tessera.Kernel.Domains;

namespace Tessera.Linux.Tests.Support;

/// <summary>A person at a guest's console: types, and waits for what appears. A wait that times out fails with the last lines.</summary>
internal sealed class LinuxConsole
{
    private readonly Domain _domain;
    private readonly object _gate = new();
    private readonly StringBuilder _text = new();
    private int _read;
    private int _commands;

    public LinuxConsole(Domain domain)
    {
        _domain = domain;
        domain.Console.Output = output =>
        {
            lock (_gate)
            {
                _text.Append(Encoding.Latin1.GetString(output.Span));
                Monitor.PulseAll(_gate);
            }
        };
    }

    /// <summary>Everything that appeared.</summary>
    public string All
    {
        get
        {
            lock (_gate)
                return _text.ToString();
        }
    }

    /// <summary>Wakes waits up, to look whether the domain ended.</summary>
    public void Ended()
    {
        lock (_gate)
            Monitor.PulseAll(_gate);
    }

    /// <summary>Waits for a text that no earlier wait has passed; answers what appeared before it.</summary>
    public string WaitFor(string text)
    {
        Stopwatch watch = Stopwatch.StartNew();
        lock (_gate)
        {
            while (true)
            {
                string seen = _text.ToString(_read, _text.Length - _read);
                int at = seen.IndexOf(text, StringComparison.Ordinal);
                if (at >= 0)
                {
                    _read += at + text.Length;
                    return seen[..at];
                }

                bool over = _domain.State is DomainState.Crashed or DomainState.Shutdown or DomainState.Suspended or DomainState.Destroyed;
                if (over || watch.Elapsed > Hang.Limit)
                    throw new AssertionException($"'{text}' did not appear on the console of {_domain.Name} ({_domain.State} {_domain.ExitReason}). Its last output:\n{seen[^Math.Min(seen.Length, 3000)..]}");
                Monitor.Wait(_gate, 500);
            }
        }
    }

    /// <summary>Types keys.</summary>
    public void Type(string keys) => _domain.Console.Write(Encoding.Latin1.GetBytes(keys));

    /// <summary>Runs a command in the shell; answers its output, without the echo and with newlines as the program wrote them.</summary>
    public string Run(string command, int expectedStatus = 0)
    {
        string marker = $"@{++_commands}";
        // The quotes keep the echo of the command from looking like its end.
        Type($"{command}; echo \"@\"{_commands}:$?:\n");
        _ = WaitFor($"\"@\"{_commands}:$?:");
        string output = WaitFor($"{marker}:");
        string status = WaitFor(":");
        _ = WaitFor("# ");
        output = output.Replace("\r", "", StringComparison.Ordinal).TrimStart('\n').TrimEnd('\n');
        if (status != $"{expectedStatus}")
            throw new AssertionException($"'{command}' ended with status {status} instead of {expectedStatus}:\n{output}");
        return output;
    }
}
