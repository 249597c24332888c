"""Builders for dashboards, panels, queries and variables in Grafana's classic JSON.

One function per kind of panel sets the options that all boards share. Options that are not set keep
Grafana's default.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Colors by meaning. Colored values always show their number too, because some readers cannot
# distinguish red from green.
GOOD, WARN, BAD, NEUTRAL, PREVIOUS = "green", "orange", "red", "blue", "#8e8e8e"

# Currency code to (symbol, decimals). Grafana cannot take a unit from a label. The names of monetary
# series therefore contain the currency code, and one override per currency sets the unit. A currency
# that is not listed is shown as a plain number next to its code.
CURRENCIES = {
    "AUD": ("A$", 2),
    "BRL": ("R$", 2),
    "CAD": ("C$", 2),
    "CHF": ("CHF ", 2),
    "CLP": ("CLP$", 0),
    "CNY": ("CN¥", 2),
    "COP": ("COL$", 0),
    "CZK": ("Kč ", 2),
    "DKK": ("DKK ", 2),
    "EUR": ("€", 2),
    "GBP": ("£", 2),
    "HKD": ("HK$", 2),
    "HUF": ("Ft ", 0),
    "IDR": ("Rp ", 0),
    "ILS": ("₪", 2),
    "INR": ("₹", 2),
    "JPY": ("¥", 0),
    "KRW": ("₩", 0),
    "MXN": ("MX$", 2),
    "MYR": ("RM ", 2),
    "NOK": ("NOK ", 2),
    "NZD": ("NZ$", 2),
    "PHP": ("₱", 2),
    "PLN": ("zł ", 2),
    "SAR": ("SAR ", 2),
    "SEK": ("SEK ", 2),
    "SGD": ("S$", 2),
    "THB": ("฿", 2),
    "TRY": ("₺", 2),
    "TWD": ("NT$", 0),
    "USD": ("$", 2),
    "VND": ("₫", 0),
    "ZAR": ("R ", 2),
    "AED": ("AED ", 2),
    "ARS": ("AR$", 2),
    "BGN": ("BGN ", 2),
    "EGP": ("E£", 2),
    "KES": ("KSh ", 2),
    "KWD": ("KWD ", 3),
    "NGN": ("₦", 2),
    "PEN": ("S/ ", 2),
    "PKR": ("Rs ", 2),
    "QAR": ("QAR ", 2),
    "RON": ("RON ", 2),
    "UAH": ("₴", 2),
}


def currency_overrides(small_amounts=False, whole_units=False):
    """Overrides that set the unit of each series by the currency code in its name.

    `small_amounts` adds two decimals, `whole_units` removes all decimals.
    """
    return [
        override(
            "byRegexp",
            f"/\\b{code}\\b/",
            unit=f"currency:financial:{symbol}",
            decimals=0 if whole_units else digits + 2 if small_amounts else digits,
        )
        for code, (symbol, digits) in sorted(CURRENCIES.items())
    ]


def override(matcher, options, **properties):
    """Field override. A `__` in a property name is replaced by a dot: custom__width."""
    listed = [{"id": k.replace("__", "."), "value": v} for k, v in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": listed}


def fixed_color(name):
    return {"mode": "fixed", "fixedColor": name}


def steps(base, *later):
    """Threshold steps: the base color, then pairs of (lower bound, color)."""
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}] + [{"color": name, "value": value} for value, name in later],
    }


def good_below(*later):
    """Steps from 0 on: good, then pairs of (lower bound, color). Missing values have the color of text, because unknown is
    neither good nor bad."""
    return steps("text", (-(10**12), GOOD), *later)


def bad_below(*later):
    """The same for values of which the lowest are bad."""
    return steps("text", (-(10**12), BAD), *later)


# Steps for a value divided by its max_* or min_* threshold. Only values that need attention have a color.
RATIO_TO_MAX = steps("transparent", (0.9, WARN), (1, BAD))
RATIO_TO_MIN = steps("transparent", (0, BAD), (1, WARN), (1.2, "transparent"))


def instant_query(expr, legend=""):
    """Query for the latest value."""
    return {"expr": dedent(expr), "legendFormat": legend, "instant": True, "range": False}


def range_query(expr, legend=""):
    """Query over the time range of the board."""
    return {"expr": dedent(expr), "legendFormat": legend, "instant": False, "range": True}


def table_query(expr):
    """Instant query in table format: one column per label and one for the value."""
    return {**instant_query(expr), "format": "table"}


def dedent(expr):
    """Removes the common indentation. Unlike `textwrap.dedent`, strips the whole text as well."""
    lines = expr.strip("\n").split("\n")
    depth = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[depth:] if line.strip() else "" for line in lines).strip()


def panel(
    kind,
    title,
    description,
    size,
    queries,
    unit,
    *,
    decimals=None,
    thresholds=None,
    no_value="no data",
    overrides=(),
    custom=None,
    options=None,
    color=None,
    defaults=None,
    **extra,
):
    field_defaults = {
        "unit": unit,
        "noValue": no_value,
        "color": fixed_color(color) if color else {"mode": "thresholds"},
        "thresholds": thresholds or steps(color or NEUTRAL),
        "mappings": [],
        **({"decimals": decimals} if decimals is not None else {}),
        **({"custom": custom} if custom else {}),
        **(defaults or {}),
    }
    # Rates need four scrapes. Without a minimum step, Grafana takes the scrape interval from the data source, and its default
    # of 15 s leaves all rates empty if Prometheus scrapes once a minute.
    if any("$__rate_interval" in query["expr"] for query in queries):
        extra.setdefault("interval", "1m")
    ref_ids = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        "type": kind,
        "title": title,
        "description": dedent(description).replace("\n", " "),
        "size": size,
        "datasource": DATASOURCE,
        "targets": [{"refId": r, "datasource": DATASOURCE, **q} for r, q in zip(ref_ids, queries, strict=False)],
        "fieldConfig": {"defaults": field_defaults, "overrides": list(overrides)},
        "options": options or {},
        **extra,
    }


def stat(
    title, description, size, queries, unit, *, text_mode="auto", color_background=False, text_sizes=None, **kwargs
):
    """`text_sizes`: font sizes of name and value in pixels."""
    return panel(
        "stat",
        title,
        description,
        size,
        queries,
        unit,
        options={
            "colorMode": "background" if color_background else "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "percentChangeColorMode": "standard",
            "showPercentChange": False,
            "textMode": text_mode,
            "wideLayout": True,
            **({"text": {"titleSize": text_sizes[0], "valueSize": text_sizes[1]}} if text_sizes else {}),
        },
        **kwargs,
    )


def bar_gauge(title, description, size, queries, unit, *, name_placement="left", **kwargs):
    return panel(
        "bargauge",
        title,
        description,
        size,
        queries,
        unit,
        options={
            "displayMode": "basic",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
            "minVizHeight": 16,
            "maxVizHeight": 40,
            "minVizWidth": 8,
            "namePlacement": name_placement,
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showUnfilled": True,
            "sizing": "manual",
            "text": {"titleSize": 13, "valueSize": 16},
            "valueMode": "text",
        },
        **kwargs,
    )


def time_series(
    title,
    description,
    size,
    queries,
    unit,
    *,
    threshold_lines=False,
    stacked=False,
    columns=False,
    calcs=("lastNotNull",),
    legend="list",
    soft_max=None,
    **kwargs,
):
    kwargs.setdefault("defaults", {}).setdefault("min", 0)
    result = panel(
        "timeseries",
        title,
        description,
        size,
        queries,
        unit,
        custom={
            "drawStyle": "bars" if columns else "line",
            "lineInterpolation": "linear",
            "lineWidth": 1 if columns else 2,
            "fillOpacity": 60 if columns else 40 if stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
            **({"axisSoftMax": soft_max} if soft_max else {}),
            "thresholdsStyle": {"mode": "dashed" if threshold_lines else "off"},
        },
        options={
            "legend": {
                "calcs": list(calcs) if legend == "table" else [],
                "displayMode": legend,
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        **kwargs,
    )
    if "color" not in kwargs:
        result["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return result


def dashed_line(series, color=PREVIOUS, width=1):
    """Dashed line, for values of the previous day and for thresholds."""
    return override(
        "byRegexp",
        series,
        color=fixed_color(color),
        custom__lineWidth=width,
        custom__lineStyle={"fill": "dash", "dash": [8, 6]},
    )


def table(title, description, size, queries, columns, *, join_by=None, join_mode="outer", sort_by=None, **kwargs):
    """`columns`: tuples of (field, heading, override properties) from left to right. Headings must be
    unique, if necessary by trailing spaces. Other fields are not shown.

    With several queries, `Value #B` is the value of the second query, or `Trend #B` if it is a range query. The results
    are joined by the field `join_by`.
    """
    fields = [field for field, _, _ in columns]
    transformations = []
    if any(field.startswith("Trend") for field in fields):
        transformations.append({"id": "timeSeriesTable", "options": {}})
    if join_by:
        transformations.append({"id": "joinByField", "options": {"byField": join_by, "mode": join_mode}})
    transformations += [
        {"id": "filterFieldsByName", "options": {"include": {"names": fields}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {field: i for i, field in enumerate(fields)},
                "renameByName": {field: heading for field, heading, _ in columns},
            },
        },
    ]
    sort_columns = sort_by or (columns[0][1], False)
    sort_columns = [sort_columns] if isinstance(sort_columns, tuple) else sort_columns
    return panel(
        "table",
        title,
        description,
        size,
        queries,
        kwargs.pop("unit", "locale"),
        # Without the unit `string`, Grafana formats ids as numbers.
        overrides=[
            override(
                "byName",
                heading,
                # The text for missing values is for a table without rows, not for each empty cell.
                **{
                    "noValue": "",
                    **({} if field.startswith(("Value", "Trend")) else {"unit": "string"}),
                    **properties,
                },
            )
            for field, heading, properties in columns
        ],
        custom={
            "align": "auto",
            "cellOptions": {"type": "auto"},
            "filterable": kwargs.pop("filterable", False),
            "inspect": False,
        },
        options={
            "cellHeight": "sm",
            "frameIndex": 0,
            "showHeader": True,
            "sortBy": [{"displayName": name, "desc": descending} for name, descending in sort_columns],
        },
        color="text",
        transformations=transformations,
        **kwargs,
    )


# Properties of a column with a small chart per row, from a range query.
SPARKLINE = {
    "custom__cellOptions": {
        "type": "sparkline",
        "hideValue": True,
        "drawStyle": "line",
        "lineWidth": 2,
        "fillOpacity": 10,
        "showPoints": "never",
    },
    "color": {"mode": "fixed", "fixedColor": NEUTRAL},
}

# Properties of a field that is only used in links. Grafana before 12 reads `custom.hidden`.
HIDDEN = {"custom__hideFrom": {"viz": True, "legend": False, "tooltip": False}, "custom__hidden": True}


def threshold_ratio(thresholds, width=110):
    """Properties of a column that shows a value divided by its threshold."""
    return {
        "unit": "percentunit",
        "decimals": 0,
        "thresholds": thresholds,
        "color": {"mode": "thresholds"},
        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
        "custom__width": width,
    }


def text_panel(title, description, size, markdown):
    return {
        "type": "text",
        "title": title,
        "description": description,
        "size": size,
        "datasource": DATASOURCE,
        "targets": [],
        "fieldConfig": {"defaults": {"unit": "none"}, "overrides": []},
        "options": {"mode": "markdown", "content": dedent(markdown)},
    }


def row(title, **extra):
    return {"type": "row", "title": title, "size": (24, 1), "collapsed": False, "panels": [], **extra}


def query_variable(name, label, query, *, description="", regex="", multi=True, all_value=None, default=None, sort=1):
    """Variable with values from a Prometheus query.

    `all_value` is the regular expression that the option All expands to. Default: all values, joined.
    """
    result = {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "regex": regex,
        "refresh": 2,
        "sort": sort,
        "hide": 0,
        "multi": multi,
        "includeAll": multi,
        "skipUrlSync": False,
        "options": [],
    }
    if multi:
        result["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
        if all_value:
            result["allValue"] = all_value
    elif default:
        result["current"] = {"selected": True, "text": default, "value": default}
    return result


def datasource_variable():
    return {
        "name": "datasource",
        "label": "Data source",
        "description": "Prometheus server to query",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
    }


def textbox_variable(name, label, value, description):
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "textbox",
        "query": value,
        "hide": 0,
        "skipUrlSync": False,
        "options": [],
        "current": {"selected": True, "text": value, "value": value},
    }


def annotation(name, expr, title, text, color, enabled=True):
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": enabled,
        "hide": False,
        "iconColor": color,
        "expr": dedent(expr),
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "useValueForTime": False,
        "type": "dashboard",
    }


def dashboard(
    uid,
    title,
    description,
    variables,
    panels,
    *,
    annotations=(),
    time_from="now-24h",
    refresh="15m",
    timezone="browser",
):
    """Whole dashboard. Panels are placed from left to right and wrap at the grid width of 24."""
    x, y, row_height = 0, 0, 0
    for panel_id, item in enumerate(panels, start=1):
        width, height = item.pop("size")
        if x + width > 24:
            x, y, row_height = 0, y + row_height, 0
        item["id"] = panel_id
        item["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
        x, row_height = x + width, max(row_height, height)
    builtin_annotation = {
        "name": "Annotations & Alerts",
        "type": "dashboard",
        "builtIn": 1,
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    }
    return {
        "id": None,
        "uid": uid,
        "title": f"Marketing messages / {title}",
        "description": dedent(description).replace("\n", " "),
        "tags": ["marketing-messages"],
        "schemaVersion": 42,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": timezone,
        "refresh": refresh,
        "time": {"from": time_from, "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "links": [
            {
                "title": "Marketing messages",
                "type": "dashboards",
                "tags": ["marketing-messages"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {"list": [builtin_annotation, *annotations]},
        "templating": {"list": [datasource_variable(), *variables]},
        "panels": panels,
    }
