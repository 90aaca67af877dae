using System.Globalization;
using System.Text;

namespace Tessera.Simulation.Bench;

/// <summary>Draws the 99th percentiles of <see cref="CostBench"/> over the number of vCPUs, both axes logarithmic, as a small SVG.</summary>
internal static class CostPlot
{
    private const double Left = 60;
    private const double Right = 560;
    private const double Top = 20;
    private const double Bottom = 320;
    private const double LeastCost = 10;
    private const double MostCost = 100_000;

    /// <summary>The aim: 2 µs at 128 vCPUs.</summary>
    private const double Aim = 2_000;

    private static readonly string[] Colours = ["#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#868e96", "#e67700", "#c2255c", "#5f3dc4", "#087f5b"];

    public static string Draw(IReadOnlyList<(string Name, CostPoint[] Points)> series)
    {
        StringBuilder svg = new();
        svg.AppendLine("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 370\" font-family=\"sans-serif\" font-size=\"12\">");
        svg.AppendLine("<title>99th percentile of a decision's cost by number of vCPUs</title>");
        svg.AppendLine("<rect width=\"680\" height=\"370\" fill=\"#fff\"/>");
        for (double cost = LeastCost; cost <= MostCost; cost *= 10)
        {
            string label = cost < 1_000 ? $"{cost} ns" : $"{cost / 1_000} µs";
            Line(svg, Left, Y(cost), Right, Y(cost), "#dee2e6", "");
            Text(svg, Left - 6, Y(cost) + 4, "end", "#343a40", label);
        }

        foreach (int size in CostBench.Sizes)
        {
            Line(svg, X(size), Top, X(size), Bottom, "#dee2e6", "");
            Text(svg, X(size), Bottom + 16, "middle", "#343a40", size.ToString("N0", CultureInfo.InvariantCulture));
        }

        Line(svg, Left, Y(Aim), Right, Y(Aim), "#343a40", " stroke-dasharray=\"5 4\"");
        Text(svg, Left + 4, Y(Aim) - 4, "start", "#343a40", "2 µs");
        Text(svg, (Left + Right) / 2, Bottom + 36, "middle", "#343a40", "vCPUs (log); cost of a decision, p99 (log)");
        for (int index = 0; index < series.Count; index++)
        {
            (string name, CostPoint[] points) = series[index];
            string colour = Colours[index % Colours.Length];
            string places = string.Join(' ', points.Select(static point => string.Create(CultureInfo.InvariantCulture, $"{X(point.Vcpus):0.#},{Y(Cost(point)):0.#}")));
            svg.AppendLine(CultureInfo.InvariantCulture, $"<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            Line(svg, Right + 16, Top + 14 + (20 * index), Right + 34, Top + 14 + (20 * index), colour, " stroke-width=\"3\"");
            Text(svg, Right + 40, Top + 18 + (20 * index), "start", "#343a40", name);
        }

        svg.AppendLine("</svg>");
        return svg.ToString();
    }

    private static double Cost(CostPoint point) => Math.Clamp(point.Worst, LeastCost, MostCost);

    private static double X(double vcpus) => Left + ((Right - Left) * Math.Log(vcpus / CostBench.Sizes[0]) / Math.Log((double)CostBench.Sizes[^1] / CostBench.Sizes[0]));

    private static double Y(double cost) => Bottom - ((Bottom - Top) * Math.Log(cost / LeastCost) / Math.Log(MostCost / LeastCost));

    private static void Line(StringBuilder svg, double x1, double y1, double x2, double y2, string colour, string more) =>
        svg.AppendLine(CultureInfo.InvariantCulture, $"<line x1=\"{x1:0.#}\" y1=\"{y1:0.#}\" x2=\"{x2:0.#}\" y2=\"{y2:0.#}\" stroke=\"{colour}\"{more}/>");

    private static void Text(StringBuilder svg, double x, double y, string anchor, string colour, string text) =>
        svg.AppendLine(CultureInfo.InvariantCulture, $"<text x=\"{x:0.#}\" y=\"{y:0.#}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>");
}
