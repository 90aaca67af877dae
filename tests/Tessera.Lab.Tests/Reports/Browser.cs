using System.Diagnostics;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Tessera.Lab.Tests.Reports;

/// <summary>A headless Chromium, driven over the DevTools protocol: one page, what it asked of the network and what its console said.</summary>
internal sealed class Browser : IAsyncDisposable
{
    private static readonly string[] Programs = ["chromium", "chromium-browser", "google-chrome"];

    private readonly Process _process;
    private readonly string _profile;
    private readonly ClientWebSocket _socket = new();
    private readonly CancellationTokenSource _ends = new();
    private readonly Dictionary<int, TaskCompletionSource<JsonNode>> _asked = [];
    private readonly Lock _gate = new();
    private readonly List<string> _complaints = [];
    private readonly List<string> _requests = [];
    private readonly SemaphoreSlim _sending = new(1);
    private TaskCompletionSource _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _session;
    private int _last;

    private Browser(Process process, string profile) => (_process, _profile) = (process, profile);

    /// <summary>Errors and messages of the page's console, and uncaught exceptions, since the last page was opened.</summary>
    public IReadOnlyList<string> Complaints
    {
        get
        {
            lock (_gate)
                return [.. _complaints];
        }
    }

    /// <summary>Addresses the page asked for, itself left out.</summary>
    public IReadOnlyList<string> Requests
    {
        get
        {
            lock (_gate)
                return [.. _requests];
        }
    }

    /// <summary>Starts it; skips the test, saying why, where there is none.</summary>
    public static async Task<Browser> Start()
    {
        string? program = Programs.SelectMany(name => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(folder => Path.Combine(folder, name))).FirstOrDefault(File.Exists);
        if (program is null)
            Assert.Ignore("No Chromium is installed to open reports in: apt-get install chromium.");
        string profile = Directory.CreateTempSubdirectory("tessera-browser-").FullName;
        ProcessStartInfo start = new(program!)
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            ArgumentList =
            {
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0", $"--user-data-dir={profile}", "about:blank",
            },
        };
        Browser browser = new(Process.Start(start)!, profile);
        browser._process.OutputDataReceived += static (_, _) => { };
        browser._process.BeginOutputReadLine();
        try
        {
            await browser.Connect();
            return browser;
        }
        catch
        {
            await browser.DisposeAsync();
            throw;
        }
    }

    /// <summary>Opens a page and waits until its scripts have run and its plots are painted.</summary>
    public async Task Open(string file, int width = 1200, int height = 900, bool dark = false, bool phone = false)
    {
        await Call("Emulation.setDeviceMetricsOverride", new JsonObject { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = phone });
        await Call("Emulation.setEmulatedMedia", new JsonObject { ["features"] = new JsonArray(new JsonObject { ["name"] = "prefers-color-scheme", ["value"] = dark ? "dark" : "light" }) });
        string address = new Uri(file).AbsoluteUri;
        lock (_gate)
        {
            _complaints.Clear();
            _requests.Clear();
            _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        await Call("Page.navigate", new JsonObject { ["url"] = address });
        await _loaded.Task.WaitAsync(Hang.Limit);
        await Painted();
        lock (_gate)
            _requests.Remove(address);
    }

    /// <summary>Waits until what was changed has been painted.</summary>
    public Task Painted() => Evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");

    /// <summary>Evaluates an expression in the page.</summary>
    public async Task<JsonNode?> Evaluate(string expression)
    {
        JsonNode answer = await Call("Runtime.evaluate", new JsonObject { ["expression"] = expression, ["returnByValue"] = true, ["awaitPromise"] = true });
        if (answer["exceptionDetails"] is { } details)
            throw new InvalidOperationException($"{expression}: {details.ToJsonString()}");
        return answer["result"]?["value"];
    }

    /// <summary>The same as a number.</summary>
    public async Task<double> Number(string expression) => (await Evaluate(expression))!.GetValue<double>();

    /// <summary>The same as a text.</summary>
    public async Task<string> Text(string expression) => (await Evaluate(expression))!.GetValue<string>();

    /// <summary>A mouse event at a place of the viewport.</summary>
    public Task Mouse(string type, double x, double y, string button = "none", double wheel = 0)
    {
        JsonObject event_ = new() { ["type"] = type, ["x"] = x, ["y"] = y, ["button"] = button, ["buttons"] = button == "left" ? 1 : 0, ["clickCount"] = button == "left" ? 1 : 0 };
        if (type == "mouseWheel")
            (event_["deltaX"], event_["deltaY"]) = (0, wheel);
        return Call("Input.dispatchMouseEvent", event_);
    }

    /// <summary>Presses the left button at one place and lets go at another.</summary>
    public async Task Drag(double fromX, double fromY, double toX, double toY)
    {
        await Mouse("mouseMoved", fromX, fromY);
        await Mouse("mousePressed", fromX, fromY, "left");
        for (int step = 1; step <= 4; step++)
            await Mouse("mouseMoved", fromX + ((toX - fromX) * step / 4), fromY + ((toY - fromY) * step / 4), "left");
        await Mouse("mouseReleased", toX, toY, "left");
        await Painted();
    }

    /// <summary>Keeps a picture of the whole page where TESSERA_SCREENSHOTS names a folder, for people to look at.</summary>
    public async Task Keep(string name)
    {
        if (Environment.GetEnvironmentVariable("TESSERA_SCREENSHOTS") is not { Length: > 0 } folder)
            return;
        JsonNode size = (await Call("Page.getLayoutMetrics", []))["cssContentSize"]!;
        JsonObject clip = new() { ["x"] = 0, ["y"] = 0, ["width"] = size["width"]!.DeepClone(), ["height"] = size["height"]!.DeepClone(), ["scale"] = 1 };
        JsonNode picture = await Call("Page.captureScreenshot", new JsonObject { ["format"] = "png", ["captureBeyondViewport"] = true, ["clip"] = clip });
        Directory.CreateDirectory(folder);
        await File.WriteAllBytesAsync(Path.Combine(folder, name + ".png"), Convert.FromBase64String(picture["data"]!.GetValue<string>()));
    }

    public async ValueTask DisposeAsync()
    {
        await _ends.CancelAsync();
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
        _socket.Dispose();
        _ends.Dispose();
        _sending.Dispose();
        try
        {
            Directory.Delete(_profile, recursive: true);
        }
        catch (IOException)
        {
            // A process of the browser's that outlived it by a moment may still write there; the folder is a temporary one.
        }
    }

    private async Task Connect()
    {
        const string announcement = "DevTools listening on ";
        TaskCompletionSource<string> address = new(TaskCreationOptions.RunContinuationsAsynchronously);
        List<string> said = [];
        _process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null)
                address.TrySetException(new InvalidOperationException("Chromium ended instead of listening: " + string.Join('\n', said)));
            else if (line.Data.StartsWith(announcement, StringComparison.Ordinal))
                address.TrySetResult(line.Data[announcement.Length..]);
            else if (!address.Task.IsCompleted)
                said.Add(line.Data);
        };
        _process.BeginErrorReadLine();
        await _socket.ConnectAsync(new Uri(await address.Task.WaitAsync(Hang.Limit)), _ends.Token);
        _ = Task.Run(Listen);
        string target = (await Call("Target.createTarget", new JsonObject { ["url"] = "about:blank" }))["targetId"]!.GetValue<string>();
        _session = (await Call("Target.attachToTarget", new JsonObject { ["targetId"] = target, ["flatten"] = true }))["sessionId"]!.GetValue<string>();
        foreach (string domain in (string[])["Page", "Runtime", "Log", "Network"])
            await Call(domain + ".enable", []);
    }

    private async Task<JsonNode> Call(string method, JsonObject parameters)
    {
        TaskCompletionSource<JsonNode> answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
        JsonObject message;
        lock (_gate)
        {
            _asked.Add(++_last, answer);
            message = new() { ["id"] = _last, ["method"] = method, ["params"] = parameters };
        }

        if (_session is not null)
            message["sessionId"] = _session;
        await _sending.WaitAsync(_ends.Token);
        try
        {
            await _socket.SendAsync(Encoding.UTF8.GetBytes(message.ToJsonString()), WebSocketMessageType.Text, true, _ends.Token);
        }
        finally
        {
            _sending.Release();
        }

        return await answer.Task.WaitAsync(Hang.Limit);
    }

    private async Task Listen()
    {
        byte[] buffer = new byte[1 << 16];
        using MemoryStream message = new();
        try
        {
            while (true)
            {
                WebSocketReceiveResult part = await _socket.ReceiveAsync(buffer, _ends.Token);
                message.Write(buffer.AsSpan(0, part.Count));
                if (!part.EndOfMessage)
                    continue;
                Handle(JsonNode.Parse(message.GetBuffer().AsSpan(0, (int)message.Length))!);
                message.SetLength(0);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException or ObjectDisposedException)
        {
            lock (_gate)
            {
                foreach (TaskCompletionSource<JsonNode> answer in _asked.Values)
                    answer.TrySetException(new InvalidOperationException("The browser has gone."));
            }
        }
    }

    private void Handle(JsonNode message)
    {
        lock (_gate)
        {
            if (message["id"]?.GetValue<int>() is { } id)
            {
                if (!_asked.Remove(id, out TaskCompletionSource<JsonNode>? answer))
                    return;
                if (message["error"] is { } error)
                    answer.SetException(new InvalidOperationException(error.ToJsonString()));
                else
                    answer.SetResult(message["result"]!);
                return;
            }

            JsonNode? parameters = message["params"];
            switch (message["method"]?.GetValue<string>())
            {
                case "Page.loadEventFired":
                    _loaded.TrySetResult();
                    break;
                case "Network.requestWillBeSent":
                    _requests.Add(parameters!["request"]!["url"]!.GetValue<string>());
                    break;
                case "Log.entryAdded":
                    _complaints.Add(parameters!["entry"]!["text"]!.GetValue<string>());
                    break;
                case "Runtime.exceptionThrown":
                case "Runtime.consoleAPICalled":
                    _complaints.Add(parameters!.ToJsonString(new JsonSerializerOptions()));
                    break;
                default:
                    break;
            }
        }
    }
}
