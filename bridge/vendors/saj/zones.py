"""The zone names that the vendor takes as `timezone_id` (page saj, table 6.13), as printed."""

from __future__ import annotations

TIMEZONE_IDS: frozenset[str] = frozenset(
    {
        "Etc/GMT+12", "Etc/GMT+11", "HST", "AST", "PST", "Mexico/BajaNorte", "America/Chihuahua", "MST",
        "US/Arizona", "America/Mexico_City", "Canada/Saskatchewan", "CST", "US/Central",
        "America/Bogota", "EST", "US/East-Indiana", "America/Caracas", "Canada/Atlantic",
        "America/Cuiaba", "America/La_Paz", "America/Asuncion", "Canada/Newfoundland", "BET",
        "America/Argentina/Buenos_Aires", "America/Cayenne", "America/Montevideo", "America/Santiago",
        "Etc/GMT+2", "Atlantic/Cape_Verde", "Atlantic/Azores", "Europe/Dublin", "Africa/Casablanca",
        "Africa/Monrovia", "UTC", "Europe/Amsterdam", "Europe/Belgrade", "Europe/Brussels",
        "Europe/Sarajevo", "Africa/Windhoek", "Africa/Bangui", "Asia/Beirut", "Asia/Damascus", "ART",
        "Africa/Harare", "Europe/Helsinki", "Africa/Cairo", "Europe/Athens", "Asia/Jerusalem",
        "Europe/Istanbul", "Asia/Baghdad", "Asia/Kuwait", "Europe/Minsk", "Europe/Moscow",
        "Africa/Nairobi", "Asia/Tehran", "Asia/Muscat", "Asia/Yerevan", "Asia/Baku", "Asia/Tbilisi",
        "Indian/Mauritius", "Asia/Kabul", "Asia/Ashgabat", "Asia/Yekaterinburg", "Asia/Karachi",
        "Asia/Calcutta", "Asia/Kathmandu", "Asia/Dacca", "Asia/Novosibirsk", "Asia/Rangoon",
        "Asia/Krasnoyarsk", "Asia/Bangkok", "PRC", "Asia/Singapore", "Australia/Perth", "Asia/Taipei",
        "Asia/Ulaanbaatar", "Asia/Irkutsk", "Asia/Pyongyang", "Asia/Tokyo", "Asia/Seoul",
        "Australia/Adelaide", "Australia/Darwin", "Australia/Brisbane", "Asia/Vladivostok",
        "Pacific/Guam", "Australia/Hobart", "Australia/Canberra", "Asia/Magadan", "SST", "Asia/Anadyr",
        "Pacific/Auckland", "Pacific/Fiji", "Etc/GMT-12", "MIT", "Pacific/Kiritimati",
    }
)  # fmt: skip
"""95 names. Some exist nowhere else (PRC, PST, MIT …); they are sent as they are and never computed with."""
